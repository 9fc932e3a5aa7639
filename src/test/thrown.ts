/** What the work was rejected with; fails when it was not rejected. */
export const thrownBy = (work: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(work).then(
    () => Promise.reject(new Error('Nothing was thrown.')),
    (error: unknown) => error,
  )

/** The message of what the work was rejected with. */
export const messageThrownBy = async (work: PromiseLike<unknown>): Promise<string> => {
  const error = await thrownBy(work)
  return error instanceof Error ? error.message : String(error)
}
