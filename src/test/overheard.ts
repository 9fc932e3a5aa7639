export type Heard = { path: string; traceparent: string | null }

/** Stands before an HTTP service and hands everything on; keeps of each request what it was told of its story. */
export const overhear = (url: string) => {
  const heard: Heard[] = []
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: async ({ method, url: asked, headers, body }) => {
      const { pathname, search } = new URL(asked)
      heard.push({ path: pathname, traceparent: headers.get('traceparent') })
      const given = new Headers(headers)
      given.delete('host')
      return fetch(`${url.replace(/\/$/, '')}${pathname}${search}`, { method, headers: given, body })
    },
  })
  return { url: server.url.href.replace(/\/$/, ''), heard, stop: () => server.stop(true) }
}
