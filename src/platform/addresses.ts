import { BlockList, isIP } from 'node:net'

/** A set of addresses and ranges of them. */
export type Addresses = { has(address: string): boolean; empty: boolean }

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** Whether the text is an address, or a range such as 10.0.0.0/8 or fd00::/8. */
export const isAddressRange = (text: string): boolean => {
  const [address = '', bits, ...rest] = text.split('/')
  const most = isIP(address) === 6 ? 128 : 32
  return isIP(address) > 0 && rest.length === 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && +bits <= most))
}

/** The addresses in all of these; each has to be an address or a range. */
export const addressesIn = (ranges: string[]): Addresses => {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    if (bits === undefined) list.addAddress(address, familyOf(address))
    else list.addSubnet(address, Number(bits), familyOf(address))
  }
  return { has: (address) => isIP(address) > 0 && list.check(address, familyOf(address)), empty: ranges.length === 0 }
}

/** The address without the IPv6 clothes that a socket of both kinds puts on an IPv4 address. */
export const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')

export const isAddress = (text: string): boolean => isIP(text) > 0

export const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.')

/** What counts as one sender: an IPv4 address, and of IPv6 the /64, of which everybody has a whole one. */
export const networkOf = (address: string): string => {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail?.split(':').filter(Boolean) ?? []
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length)
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right].slice(0, 4)
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}
