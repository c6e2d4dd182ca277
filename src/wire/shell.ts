// A shell runs programs on a machine: here or over ssh. Everything that asks a machine goes through it.

export interface ShellRequest {
  /** The program and its arguments; each reaches the program as it is, whatever it contains (latin1: one byte per character). */
  readonly argv: readonly string[]
  /** Fed to the program's standard input; none means end of file at once. */
  readonly stdin?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  /** The longest silence on standard output and error before the program is taken for dead; default 60,000. */
  readonly idleTimeoutMs?: number
  readonly signal?: AbortSignal | undefined
  /**
   * Nothing that the program starts outlives it or writes behind it: it may then run where others ran before, which over ssh
   * spares a session with its login shell. Not for programs of the user's.
   */
  readonly endsWhole?: boolean
}

export interface ShellOutcome {
  /** Exit status; a signal's death is 128 + its number. */
  readonly status: number
  /** The end of standard error (64 KiB at most), as bytes. */
  readonly stderr: Buffer
}

/** A running program. Its standard output must be read to its end before `outcome` settles. */
export interface ShellProcess extends AsyncDisposable {
  readonly stdout: AsyncIterable<Buffer>
  readonly outcome: Promise<ShellOutcome>
}

export interface Shell extends AsyncDisposable {
  /** For messages: `lab@10.0.0.7:22` or `this host`. */
  readonly label: string
  /** Starts a program. Fails with `unavailable.network`, `unavailable.timeout`, `remote.denied` when the machine cannot be reached. */
  start(request: ShellRequest): Promise<ShellProcess>
  /** Starts, collects standard output up to `outputBytesMax` (default 16 MiB; more is `remote.protocol`) and returns when it ended. */
  run(
    request: ShellRequest & { readonly outputBytesMax?: number },
  ): Promise<ShellOutcome & { readonly stdout: Buffer }>
}
