import { generate } from 'selfsigned'

export type Certified = { key: string; cert: string }

const made = { keyType: 'ec', algorithm: 'sha256' } as const

/** A certificate authority of a test's own. */
export const createAuthority = async (name = 'Test authority'): Promise<Certified> => {
  const { private: key, cert } = await generate([{ name: 'commonName', value: name }], {
    ...made,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })
  return { key, cert }
}

/** A server's certificate, for these names and addresses, that the authority signed. */
export const certify = async (authority: Certified, names: string[]): Promise<Certified> => {
  const { private: key, cert } = await generate([{ name: 'commonName', value: names[0] ?? '' }], {
    ...made,
    ca: authority,
    extensions: [
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      {
        name: 'subjectAltName',
        altNames: names.map((value) => (/^[\d.]+$/.test(value) ? { type: 7, ip: value } : { type: 2, value })),
      },
    ],
  })
  return { key, cert }
}
