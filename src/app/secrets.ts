// Where a logbook's password comes from when this computer has no key for it: a file, a command, a person.
import { spawn } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { describeSystemError } from '../base/system-error.ts'
import type { Config, Setting } from './config.ts'

/** As restic reads it: the file's first line would do, but restic takes all and strips the last line end. */
const passwordBytesMax = 64 * 1024
const commandMsMax = 120_000

export async function readPasswordFile(setting: Setting<string>): Promise<Buffer> {
  const fail = (what: string, cause?: unknown) =>
    new VmlError('usage', `Cannot read the password file "${setting.value}" (${setting.from}): ${what}`, {
      cause,
      hint: 'Name the file that holds the password; without one vml asks for it on a terminal',
    })
  try {
    const info = await stat(setting.value)
    if (info.isFile() && info.size > passwordBytesMax) throw fail('it is larger than 64 KiB')
    return cleanPassword(await readFile(setting.value)) ?? raise(fail('it is empty'))
  } catch (error) {
    if (error instanceof VmlError) throw error
    const code = systemErrorCode(error)
    if (code === 'ENOENT') throw fail('there is no such file', error)
    throw fail(code === undefined ? 'unknown failure' : describeSystemError(code), error)
  }
}

/** Runs the line in a shell; what it prints is the password. Its standard error reaches the user. */
export async function runPasswordCommand(setting: Setting<string>, signal?: AbortSignal): Promise<Buffer> {
  const child = spawn('/bin/sh', ['-c', setting.value], {
    stdio: ['inherit', 'pipe', 'inherit'],
    signal: AbortSignal.any([AbortSignal.timeout(commandMsMax), ...(signal ? [signal] : [])]),
  })
  const parts: Buffer[] = []
  let length = 0
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.stdout.on('data', (part: Buffer) => {
      length += part.length
      if (length > passwordBytesMax) child.kill('SIGKILL')
      else parts.push(part)
    })
    child.on('close', resolve)
  }).catch((error: unknown) => {
    signal?.throwIfAborted()
    throw new VmlError(
      'auth.key',
      `Cannot get the password: the command of ${setting.from} did not end well`,
      {
        cause: error,
      },
    )
  })
  const password = status === 0 ? cleanPassword(Buffer.concat(parts)) : undefined
  if (password) return password
  throw new VmlError(
    'auth.key',
    status === 0
      ? `Cannot get the password: the command of ${setting.from} printed nothing`
      : `Cannot get the password: the command of ${setting.from} ended with status ${status ?? 'unknown'}`,
  )
}

/** The password that the configuration names, and where it stands; undefined where it names none. */
export async function configuredPassword(
  config: Config,
  signal?: AbortSignal,
): Promise<{ readonly password: Buffer; readonly from: string } | undefined> {
  const { passwordFile, passwordCommand } = config
  // A variable is nearer than a file: VML_PASSWORD_COMMAND wins over a password_file in config.toml.
  const commandFirst =
    passwordCommand?.from === 'VML_PASSWORD_COMMAND' &&
    passwordFile?.from !== '--password-file' &&
    passwordFile?.from !== 'VML_PASSWORD_FILE'
  if (passwordFile && !commandFirst)
    return { password: await readPasswordFile(passwordFile), from: passwordFile.from }
  if (passwordCommand)
    return { password: await runPasswordCommand(passwordCommand, signal), from: passwordCommand.from }
  return undefined
}

/** Without the line end that editors and `echo` leave; undefined when nothing is left. */
function cleanPassword(bytes: Buffer): Buffer | undefined {
  let end = bytes.length
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--
  return end === 0 ? undefined : bytes.subarray(0, end)
}

function raise(error: Error): never {
  throw error
}
