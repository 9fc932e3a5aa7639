/** Something the person at the keyboard can put right: its message is the one line they need. */
export class ServiceFailure extends Error {
  override name = 'ServiceFailure'
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

export const interrupted = () => new ServiceFailure('Interrupted; what had been started is stopped again.', 130)
