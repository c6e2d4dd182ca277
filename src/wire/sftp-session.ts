// The line to an sftp server, over the system's own OpenSSH client: many requests under way at once, each answer found
// by its number.
import { VmlError } from '../base/failure.ts'
import { openByteReader } from './byte-reader.ts'
import { startChild, type Child } from './child-process.ts'
import {
  encodePacket,
  type Field,
  malformed,
  openPacketReader,
  packetBytesMax,
  type PacketReader,
  packetType,
  readStatus,
} from './sftp-packets.ts'
import { connectionWords, destinationWords, option, type SshAddress, type SshOptions } from './ssh-client.ts'
import { lastLine, sshFailure, troubleOf } from './ssh-failure.ts'
import { awaitLogin } from './ssh-login.ts'

export interface SftpRequest {
  readonly address: SshAddress
  readonly options?: SshOptions
  /** For messages: `user@host:port`. */
  readonly label: string
  /** Ends the session, also later. */
  readonly signal?: AbortSignal | undefined
}

export interface SftpSession extends AsyncDisposable {
  readonly isUp: boolean
  readonly extensions: ReadonlySet<string>
  /**
   * The answer of type `type`. A status in its place fails as it says; a connection that is gone fails with
   * `unavailable.*`, and then nothing is known of what was asked. `data` follows the fields as it is, and must not
   * change before the answer.
   */
  ask(type: number, fields: readonly Field[], expected: number, data?: Uint8Array): Promise<PacketReader>
  /** For what is answered by a status alone. */
  tell(type: number, fields: readonly Field[], data?: Uint8Array): Promise<void>
}

const protocolVersion = 3
/** The longest silence while something was asked: a sync on a busy disk takes its time; a dead line ssh finds by itself. */
const silenceMsMax = 120_000
const silenceLookMs = 5000
const extensionsMax = 256

export async function openSftpSession(request: SftpRequest): Promise<SftpSession> {
  const { address, options = {}, label, signal } = request
  const outbox = openOutbox()
  const child = startChild({
    command: [
      ...connectionWords(options),
      // A connection that stands may be used; one that would outlive this process is not begun.
      ...option('ControlMaster', 'no'),
      '-s',
      ...destinationWords(address),
      'sftp',
    ],
    stdin: outbox.chunks(),
    // Between two requests it may rest for as long as it likes.
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    label: `the sftp session on ${label}`,
    signal,
  })
  return await awaitLogin(child, { options, label }, async () => {
    const packets = readPackets(child, label)
    outbox.add(encodePacket(packetType.init, [protocolVersion]))
    const { value: hello } = await packets.next()
    if (!hello) throw await explainRefusal(child, label)
    return listen({ child, outbox, packets, extensions: readVersion(hello), label })
  })
}

interface Line {
  readonly child: Child
  readonly outbox: Outbox
  readonly packets: AsyncGenerator<Buffer, undefined>
  readonly extensions: ReadonlySet<string>
  readonly label: string
}

interface Answer {
  readonly type: number
  readonly reader: PacketReader
}

function listen({ child, outbox, packets, extensions, label }: Line): SftpSession {
  const waiting = new Map<number, { resolve(answer: Answer): void; reject(error: unknown): void }>()
  let ended: { readonly error: unknown } | undefined
  let lastId = 0
  let heardAt = performance.now()
  const watch = setInterval(() => {
    if (waiting.size === 0 || performance.now() - heardAt < silenceMsMax) return
    child.fail(new VmlError('unavailable.timeout', `No answer from ${label} for ${silenceMsMax} ms`))
  }, silenceLookMs)
  watch.unref()

  const end = (error: unknown) => {
    ended ??= { error }
    clearInterval(watch)
    outbox.close()
    for (const { reject } of waiting.values()) reject(ended.error)
    waiting.clear()
  }
  const hear = async () => {
    for await (const packet of packets) {
      heardAt = performance.now()
      const reader = openPacketReader(packet, 1)
      const id = reader.u32()
      const asker = waiting.get(id)
      if (!asker) throw malformed('it answers what was not asked')
      waiting.delete(id)
      asker.resolve({ type: packet[0] ?? 0, reader })
    }
    const { stderr } = await child.outcome
    const trouble = troubleOf(stderr) === 'timeout' ? 'timeout' : 'network'
    throw sshFailure(`Lost the connection to ${label}`, stderr, trouble)
  }
  hear().catch((error: unknown) => {
    end(error)
    void child[Symbol.asyncDispose]()
  })

  const send = async (type: number, fields: readonly Field[], data?: Uint8Array): Promise<Answer> => {
    if (ended) throw ended.error
    if (waiting.size === 0) heardAt = performance.now()
    const id = (lastId = (lastId + 1) % 2 ** 32)
    const answer = new Promise<Answer>((resolve, reject) => waiting.set(id, { resolve, reject }))
    outbox.add(encodePacket(type, [id, ...fields], data?.length ?? 0))
    if (data) outbox.add(data)
    return await answer
  }
  return {
    get isUp() {
      return ended === undefined
    },
    extensions,
    async ask(type, fields, expected, data) {
      const answer = await send(type, fields, data)
      if (answer.type === expected) return answer.reader
      const failure = answer.type === packetType.status ? readStatus(answer.reader) : undefined
      throw failure ?? malformed(`it answers with type ${answer.type} where ${expected} is due`)
    },
    async tell(type, fields, data) {
      const answer = await send(type, fields, data)
      if (answer.type !== packetType.status)
        throw malformed(`it answers with type ${answer.type} where a status is due`)
      const failure = readStatus(answer.reader)
      if (failure) throw failure
    },
    async [Symbol.asyncDispose]() {
      end(new VmlError('cancelled', `The connection to ${label} was closed`))
      await child[Symbol.asyncDispose]()
    },
  }
}

/** Each packet without its length: its type and what follows. */
async function* readPackets(child: Child, label: string): AsyncGenerator<Buffer, undefined> {
  const reader = openByteReader(child.stdout, `the answer of ${label}`)
  try {
    for (;;) {
      const head = reader.takeReady(4) ?? (await reader.takeOrEnd(4))
      if (!head) return
      const length = head.readUInt32BE()
      // What a start-up file of the login shell prints is taken for a length: four letters are a gigabyte and more.
      if (length < 5 || length > packetBytesMax) {
        throw new VmlError('remote.protocol', `Cannot understand the sftp server of ${label}`, {
          details: { head: head.toString('hex') },
          hint: 'See what the start-up files of its login shell print when no terminal is there: it must be nothing',
        })
      }
      yield reader.takeReady(length) ?? (await reader.take(length))
    }
  } catch (error) {
    // Within a packet the line broke; what ssh says of it comes from its end.
    if (!(error instanceof VmlError) || error.code !== 'integrity.truncated') throw error
  }
}

function readVersion(packet: Buffer): ReadonlySet<string> {
  if (packet[0] !== packetType.version) throw malformed('it does not begin with its version')
  const reader = openPacketReader(packet, 1)
  if (reader.u32() < protocolVersion) throw malformed('it speaks a version before 3')
  const extensions = new Set<string>()
  while (reader.left > 0 && extensions.size < extensionsMax) {
    extensions.add(reader.text().toString('latin1'))
    reader.text()
  }
  return extensions
}

async function explainRefusal(child: Child, label: string): Promise<VmlError> {
  const { stderr } = await child.outcome
  const action = `Cannot connect to ${label}`
  if (!/subsystem request failed/i.test(stderr.toString('latin1')))
    return sshFailure(action, stderr, troubleOf(stderr))
  return new VmlError('unsupported', `${action}: it offers no sftp: ${lastLine(stderr)}`, {
    hint: 'Let its sshd_config have a line "Subsystem sftp internal-sftp"',
  })
}

interface Outbox {
  add(bytes: Uint8Array): void
  close(): void
  chunks(): AsyncGenerator<Uint8Array, void, undefined>
}

/** What is to be sent, in order. Askers bound it by what they have under way. */
function openOutbox(): Outbox {
  const queue: Uint8Array[] = []
  let closed = false
  let wake = () => {}
  return {
    add(bytes) {
      queue.push(bytes)
      wake()
    },
    close() {
      closed = true
      wake()
    },
    async *chunks() {
      while (!closed) {
        const next = queue.shift()
        if (next) yield next
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}
