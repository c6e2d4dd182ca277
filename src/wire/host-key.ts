// Host keys: asks a machine for its key, so that a person can compare it, and writes down the one that was accepted.
import { createHash } from 'node:crypto'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { VmlError } from '../base/failure.ts'
import { makePrivateFolder } from '../base/files.ts'
import { startChild } from './child-process.ts'
import { connectionWords, destinationWords, option, quotedPath, userKnownHostsFile } from './ssh-client.ts'
import type { SshAddress, SshOptions } from './ssh-client.ts'

export interface HostKey {
  /** `SHA256:…`, as ssh shows it. */
  readonly fingerprint: string
  /** The line for a known_hosts file. */
  readonly keyLine: string
}

const keyLineBytesMax = 16 * 1024

/**
 * The key that ssh would meet now, through the user's own jump hosts: ssh itself writes it to a file that is thrown
 * away, and logs in nowhere. Undefined when the machine cannot be reached, or the unknown key is a jump host's.
 */
export async function askHostKey(
  address: SshAddress,
  options: SshOptions,
  signal?: AbortSignal,
): Promise<HostKey | undefined> {
  const folder = await mkdtemp(join(options.runtimeFolder ?? tmpdir(), 'vml-'))
  try {
    const file = join(folder, 'known')
    const asking = startChild({
      command: [
        ...connectionWords({
          ...options,
          knownHostsFile: file,
          strictHostKeyChecking: 'accept-new',
        }),
        ...option('HashKnownHosts', 'no'),
        ...option('PreferredAuthentications', 'none'),
        ...option('ControlPath', 'none'),
        ...destinationWords(address),
        'exit',
      ],
      label: `"ssh" to ${address.host}`,
      idleTimeoutMs: 60_000,
      signal,
    })
    for await (const _ of asking.stdout);
    await asking.outcome
    const text = await readFile(file, 'latin1').catch(() => '')
    return text.length > keyLineBytesMax ? undefined : parseKeyLine(text.split('\n')[0] ?? '')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Adds an accepted key to a known_hosts file (the user's own by default), which may be there or not. */
export async function trustHostKey(
  keyLine: string,
  knownHostsFile: string = userKnownHostsFile(),
): Promise<void> {
  if (keyLine.includes('\n') || !parseKeyLine(keyLine))
    throw new VmlError('usage', 'Cannot trust a host key: its line is malformed')
  // Refuses now what ssh could not be given later.
  quotedPath(knownHostsFile)
  await makePrivateFolder(dirname(knownHostsFile))
  const before = await readFile(knownHostsFile, 'latin1').catch(() => '')
  const file = await open(knownHostsFile, 'a', 0o600)
  try {
    await file.writeFile(`${before === '' || before.endsWith('\n') ? '' : '\n'}${keyLine}\n`, 'latin1')
    await file.sync()
  } finally {
    await file.close()
  }
}

function parseKeyLine(line: string): HostKey | undefined {
  const match = /^[!-~]+ (?:ssh|ecdsa|sk)-[a-z0-9@.-]+ ([A-Za-z0-9+/]+={0,2})$/.exec(line)
  if (!match?.[1]) return undefined
  const hash = createHash('sha256').update(Buffer.from(match[1], 'base64')).digest('base64')
  return { fingerprint: `SHA256:${hash.replace(/=+$/, '')}`, keyLine: line }
}
