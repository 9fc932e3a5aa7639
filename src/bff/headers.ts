/** For answers that are data: a browser that is made to show one runs and loads nothing. */
const policyOfData = "default-src 'none'; frame-ancestors 'none'"

/** For the pages that are served from here, which load what they need from here. */
export const policyOfPages =
  "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"

/** For GraphiQL, which is one page with its script and its workers in it; it is served in development only. */
export const policyOfGraphiql = `${policyOfPages}; script-src 'self' 'unsafe-inline'; worker-src blob:; font-src 'self' data:`

/** What every answer carries, unless its route says otherwise. */
const always = Object.entries({
  'Cache-Control': 'no-store',
  'Content-Security-Policy': policyOfData,
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
})

/** For a connection that is encrypted: the browser comes by no other for a year. */
export const strictTransport = ['Strict-Transport-Security', 'max-age=31536000'] as const

/** What of an answer a page of another origin may read, if it may read it at all. */
export const exposeHeaders = [
  'Consistency-Token',
  'Correlation-Id',
  'ETag',
  'Location',
  'Preference-Applied',
  'Retry-After',
]

/** The headers of an answer that is data, to begin with: to copy them costs less than to set them one by one. */
export const headersOfData = (more: Record<string, string>): Headers =>
  new Headers({ ...Object.fromEntries(always), ...more })

/** Adds what keeps browsers from doing more with an answer than reading it; what is there already stays. */
export const secureHeaders = (headers: Headers): void => {
  if (headers.has('X-Content-Type-Options')) return
  for (const [name, value] of always) if (!headers.has(name)) headers.set(name, value)
}
