// One kind of progress event feeds the terminal, JSON lines and, later, server-sent events.

export interface ProgressEvent {
  /** What is going on, as a short present participle: `scanning`, `reading`, `storing`. */
  readonly phase: string
  readonly filesDone?: number
  readonly filesTotal?: number
  readonly bytesDone?: number
  readonly bytesTotal?: number
  /** What is in hand, already safe to print. */
  readonly item?: string
}

export interface WarningEvent {
  readonly warning: string
  /** Already safe to print. */
  readonly item?: string
}

export interface Reporter {
  progress(event: ProgressEvent): void
  warn(event: WarningEvent): void
  /** What was done besides, and nothing is wrong with; already safe to print. */
  note?(text: string): void
}

export const silentReporter: Reporter = { progress: () => {}, warn: () => {} }
