import { X509Certificate } from 'node:crypto'

/** The certificates of the CAs that a server's may come from, instead of those that the runtime trusts. */
export type Trusted = { ca?: string | undefined }

/** What `tls.connect` is to be given. */
export type TlsOptions = { ca?: string; rejectUnauthorized?: false; checkServerIdentity?: () => undefined }

/** A server must show a certificate for its name, from a CA that is trusted. */
export const verified = ({ ca }: Trusted): TlsOptions => (ca === undefined ? {} : { ca })

/** Without those that may fall back to plain text, as `allow` and `prefer` do elsewhere. */
const sslModes = ['disable', 'require', 'verify-ca', 'verify-full'] as const

type SslMode = (typeof sslModes)[number]

const isSslMode = (mode: string): mode is SslMode => sslModes.some((known) => known === mode)

/** The `sslmode` of a Postgres URL; `disable` when it has none. @throws Error naming what is not understood */
export const sslModeOf = (url: string): SslMode => {
  const { searchParams } = new URL(url)
  const unknown = [...searchParams.keys()].find((name) => name.startsWith('ssl') && name !== 'sslmode')
  if (unknown !== undefined) throw new Error(`must not set ${unknown}: sslmode and TLS_CA_FILE are all that is read`)
  const mode = searchParams.get('sslmode') ?? 'disable'
  if (!isSslMode(mode)) throw new Error(`must have a sslmode out of ${sslModes.join(', ')}`)
  return mode
}

/**
 * How a Postgres is reached by its URL. `require` trusts any server, and with a CA is `verify-ca`: any that has a
 * certificate from it, whatever its name; `verify-full` checks the name too. So do the programs of Postgres itself.
 */
export const tlsOfUrl = (url: string, trusted: Trusted): TlsOptions | false => {
  const mode = sslModeOf(url)
  switch (mode) {
    case 'disable':
      return false
    case 'require':
      if (trusted.ca === undefined) return { rejectUnauthorized: false }
      return { ...verified(trusted), checkServerIdentity: () => undefined }
    case 'verify-ca':
      return { ...verified(trusted), checkServerIdentity: () => undefined }
    case 'verify-full':
      return verified(trusted)
  }
}

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** How many certificates a PEM text holds. @throws the fault of the first that cannot be read */
export const countCertificates = (pem: string): number =>
  (pem.match(certificate) ?? []).map((one) => new X509Certificate(one)).length
