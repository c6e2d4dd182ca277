// The one class of failure and the one table of its codes: exit status, HTTP status, and whether a retry can help.

export const FAILURES = {
  failed: { exit: 1, http: 500, retry: false },
  usage: { exit: 2, http: 400, retry: false },
  partial: { exit: 3, http: 207, retry: false },
  'not-found': { exit: 4, http: 404, retry: false },
  ambiguous: { exit: 4, http: 409, retry: false },
  exists: { exit: 5, http: 409, retry: false },
  'store.missing': { exit: 10, http: 404, retry: false },
  'store.locked': { exit: 11, http: 423, retry: true },
  'auth.key': { exit: 12, http: 403, retry: false },
  conflict: { exit: 14, http: 409, retry: false },
  proof: { exit: 15, http: 500, retry: false },
  'image.unobtainable': { exit: 16, http: 502, retry: false },
  unsupported: { exit: 17, http: 501, retry: false },
  'integrity.mac': { exit: 20, http: 500, retry: false },
  'integrity.hash': { exit: 20, http: 500, retry: false },
  'integrity.format': { exit: 20, http: 500, retry: false },
  'integrity.truncated': { exit: 20, http: 500, retry: true },
  'integrity.missing': { exit: 20, http: 500, retry: false },
  differences: { exit: 21, http: 200, retry: false },
  'unavailable.network': { exit: 30, http: 503, retry: true },
  'unavailable.timeout': { exit: 30, http: 504, retry: true },
  'unavailable.space': { exit: 31, http: 507, retry: false },
  'remote.denied': { exit: 40, http: 502, retry: false },
  'remote.command': { exit: 40, http: 502, retry: false },
  'remote.protocol': { exit: 40, http: 502, retry: false },
  cancelled: { exit: 130, http: 499, retry: false },
} as const satisfies Record<string, { exit: number; http: number; retry: boolean }>

export type FailureCode = keyof typeof FAILURES

export interface FailureOptions {
  /** Facts for programs; never a secret. */
  readonly details?: Readonly<Record<string, unknown>>
  /** What to do next, as a sentence that can be followed. */
  readonly hint?: string
  readonly cause?: unknown
}

/** A failure that VML foresaw. Anything else that reaches the top is a defect of ours (exit 70). */
export class VmlError extends Error {
  readonly code: FailureCode
  readonly details: Readonly<Record<string, unknown>>
  readonly hint: string | undefined

  constructor(code: FailureCode, message: string, options: FailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'VmlError'
    this.code = code
    this.details = options.details ?? {}
    this.hint = options.hint
  }
}

/** Exit status of a foreseen failure, or 70 for a defect. */
export function exitStatus(error: unknown): number {
  return error instanceof VmlError ? FAILURES[error.code].exit : 70
}

export function isFailure(error: unknown, ...codes: readonly FailureCode[]): error is VmlError {
  return error instanceof VmlError && (codes.length === 0 || codes.includes(error.code))
}

/** The `code` of a system call's error (`ENOENT`, `ENOSPC`, …), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
