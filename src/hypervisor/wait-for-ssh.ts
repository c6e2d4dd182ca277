// Waits until an ssh server greets. QEMU's forward takes every connection long before there is anybody behind it.
import { connect } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'

const pauseMs = 200
// A guest under load takes seconds to greet; a connection made before its network was up never will.
const greetingMs = 4_000

export interface WaitRequest {
  readonly host: string
  readonly port: number
  readonly timeoutMs: number
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
  /** Throws when there is nothing to wait for any more. */
  readonly check?: () => Promise<void>
}

/** The greeting, `SSH-2.0-…` (RFC 4253, 4.2). */
export async function waitForSsh({
  host,
  port,
  timeoutMs,
  clock,
  signal,
  check,
}: WaitRequest): Promise<string> {
  const until = clock.now() + timeoutMs
  for (;;) {
    signal?.throwIfAborted()
    await check?.()
    const greeting = await readGreeting({ host, port, ms: Math.min(greetingMs, until - clock.now()), signal })
    if (greeting !== undefined) return greeting
    if (clock.now() >= until)
      throw new VmlError(
        'unavailable.timeout',
        `Cannot reach an ssh server at ${host}:${port} in ${timeoutMs / 1000} seconds`,
      )
    await clock.sleep(pauseMs, { signal })
  }
}

async function readGreeting({
  host,
  port,
  ms,
  signal,
}: {
  host: string
  port: number
  ms: number
  signal: AbortSignal | undefined
}): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const socket = connect({ host, port })
  const timer = setTimeout(() => resolve(undefined), Math.max(ms, 1))
  const abort = () => resolve(undefined)
  signal?.addEventListener('abort', abort, { once: true })
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('latin1')).slice(0, 4_096)
    const greeting = /^SSH-[\x20-\x7e]*/m.exec(text)?.[0]
    if (greeting !== undefined && text.includes('\n')) resolve(greeting)
  })
  socket.on('error', () => resolve(undefined))
  socket.on('close', () => resolve(undefined))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    socket.destroy()
  }
}
