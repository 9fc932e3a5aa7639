import { expect, test } from 'bun:test'
import { addressesIn, isAddressRange, isLoopback, networkOf, plainAddress } from './addresses.ts'

test('an address or a range is taken, and nothing else', () => {
  for (const text of ['10.0.0.1', '10.0.0.0/8', '0.0.0.0/0', '::1', 'fd00::/8', '::ffff:10.0.0.1'])
    expect([text, isAddressRange(text)]).toEqual([text, true])
  for (const text of ['', 'proxy', '10.0.0', '10.0.0.0/33', '10.0.0.0/8/8', '10.0.0.0/x', '10.0.0.0/', 'fd00::/129'])
    expect([text, isAddressRange(text)]).toEqual([text, false])
})

test('a set has its addresses and those of its ranges, and no others', () => {
  const addresses = addressesIn(['192.0.2.7', '10.0.0.0/8', 'fd00::/8'])
  for (const address of ['192.0.2.7', '10.255.0.1', 'fd00::1', 'fdff::1']) expect(addresses.has(address)).toBe(true)
  for (const address of ['192.0.2.8', '11.0.0.1', 'fe00::1', 'proxy', '']) expect(addresses.has(address)).toBe(false)
  expect([addresses.empty, addressesIn([]).empty]).toEqual([false, true])
})

test('an IPv4 address is the same in IPv6 clothes', () => {
  expect([plainAddress('::ffff:192.0.2.7'), plainAddress('2001:db8::1')]).toEqual(['192.0.2.7', '2001:db8::1'])
})

test('the machine itself is known in both families', () => {
  expect(['127.0.0.1', '127.9.9.9', '::1', '128.0.0.1', '::2'].map(isLoopback)).toEqual([
    true,
    true,
    true,
    false,
    false,
  ])
})

test('whoever moves within an IPv6 network is one sender, whoever has another IPv4 address is another', () => {
  expect(networkOf('2001:db8:1:2::1')).toBe('2001:db8:1:2::/64')
  expect(networkOf('2001:0db8:0001:0002:ffff:ffff:ffff:ffff')).toBe('2001:db8:1:2::/64')
  expect(networkOf('2001:db8::1')).toBe('2001:db8:0:0::/64')
  expect(networkOf('fe80::1%eth0')).toBe('fe80:0:0:0::/64')
  expect(networkOf('192.0.2.7')).not.toBe(networkOf('192.0.2.8'))
})
