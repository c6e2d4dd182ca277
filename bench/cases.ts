// What is compared with which peer. Each case gives its runs in pairs, ours first: A B A B.
import { execFile } from 'node:child_process'
import { globSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { runVml, vmlCommand, vmlEnvironment } from '../test/cli.ts'
import { startSshd, type Sshd } from '../test/sshd.ts'
import type { DataSet } from './data.ts'
import { measure, type MeasuredRun, readServerCpu } from './measure.ts'
import { type CaseResult, figuresOf, type Run } from './report.ts'

export interface Bench {
  readonly data: DataSet
  /** On the file system of the data; removed afterwards. */
  readonly work: string
  readonly restic: string
  readonly pairs: number
  /** Told of each run as it ends. */
  readonly onRun: (name: string, run: Run) => void
}

export type Case = (bench: Bench) => Promise<CaseResult[]>

export const cases: ReadonlyMap<string, Case> = new Map([
  ['save-local', saveLocal],
  ['save-ssh', saveSsh],
  ['restore', restore],
])

/** A first save and one with nothing changed, each into a repository of its own. */
async function saveLocal(bench: Bench): Promise<CaseResult[]> {
  const { data, pairs } = bench
  const first = collect(bench, 'save-local, first', 'restic')
  const unchanged = collect(bench, 'save-local, unchanged', 'restic')
  for (let pair = 1; pair <= pairs; pair++) {
    const vml = await makeLogbook(bench, `local-vml-${pair}`)
    await vml.run(['machine', 'add', 'here', 'local:'])
    const save = vml.command(['save', 'here', '--only', data.folder, '-m', 'bench'])
    await first.add('vml', pair, save, { stored: vml.repository })
    await unchanged.add('vml', pair, save, { stored: vml.repository })
    if (pair === pairs) await checkWithRestic(bench, vml)
    const peer = await makeRestic(bench, `local-restic-${pair}`)
    const backup = peer.command(['backup', '--quiet', data.folder])
    await first.add('restic', pair, backup, { stored: peer.repository })
    await unchanged.add('restic', pair, backup, { stored: peer.repository })
  }
  return [first.result(), unchanged.result()]
}

/** From a server on the loopback. rsync keeps plain files: no checksums, no compression, no history. */
async function saveSsh(bench: Bench): Promise<CaseResult[]> {
  const { data, pairs, work } = bench
  await using sshd = await startSshd()
  const first = collect(bench, 'save-ssh, first', 'rsync -a', sshd)
  const unchanged = collect(bench, 'save-ssh, unchanged', 'rsync -an', sshd)
  const env = { VML_SSH_CONFIG: sshd.sshConfigFile }
  for (let pair = 1; pair <= pairs; pair++) {
    const vml = await makeLogbook(bench, `ssh-vml-${pair}`, env)
    await vml.run(['machine', 'add', 'lab', `ssh://${sshd.user}@127.0.0.1:${sshd.port}`])
    const save = vml.command(['save', 'lab', '--only', data.folder, '-m', 'bench'])
    await first.add('vml', pair, save, { stored: vml.repository })
    await unchanged.add('vml', pair, save, {})
    if (pair === pairs) await checkWithRestic(bench, vml)
    const copy = join(work, `ssh-rsync-${pair}`)
    const rsync = (flags: string) => ({
      command: [
        'rsync',
        flags,
        '-e',
        `ssh -F ${sshd.sshConfigFile}`,
        `${sshd.user}@127.0.0.1:${data.folder}/`,
        `${copy}/`,
      ],
      env: vml.env,
      cwd: work,
    })
    await first.add('rsync -a', pair, rsync('-a'), { stored: copy })
    await unchanged.add('rsync -an', pair, rsync('-an'), {})
  }
  return [first.result(), unchanged.result()]
}

/** Everything into a fresh folder. Ours reads back and proves what it wrote; restic would with `--verify` only. */
async function restore(bench: Bench): Promise<CaseResult[]> {
  const { data, pairs, work } = bench
  const vml = await makeLogbook(bench, 'restore-vml')
  await vml.run(['machine', 'add', 'here', 'local:'])
  await vml.run(['save', 'here', '--only', data.folder, '-m', 'bench'])
  const peer = await makeRestic(bench, 'restore-restic')
  await peer.run(['backup', '--quiet', data.folder])
  const full = collect(bench, 'restore', 'restic')
  for (let pair = 1; pair <= pairs; pair++) {
    const ours = join(work, `restored-vml-${pair}`)
    await full.add('vml', pair, vml.command(['restore', '@latest', '--to', ours]), {})
    await compareBytes(data.folder, join(ours, data.folder))
    const theirs = join(work, `restored-restic-${pair}`)
    await full.add(
      'restic',
      pair,
      peer.command(['restore', '--quiet', '--sparse', 'latest', '--target', theirs]),
      {},
    )
    await compareBytes(data.folder, join(theirs, data.folder))
  }
  return [full.result()]
}

interface Collector {
  add(who: string, pair: number, run: MeasuredRun, options: { stored?: string }): Promise<void>
  result(): CaseResult
}

function collect(bench: Bench, name: string, peer: string, server?: Sshd): Collector {
  const runs: Run[] = []
  return {
    async add(who, pair, run, { stored }) {
      // What earlier runs wrote must not be paid for by this one.
      await promisify(execFile)('sync')
      const before = server ? readServerCpu(server.pid) : 0
      const measured = await measure(run)
      const serverCpu = server ? { serverCpuSeconds: readServerCpu(server.pid) - before } : {}
      const taken = { who, pair, ...measured, ...serverCpu }
      const full: Run = stored === undefined ? taken : { ...taken, storedBytes: bytesBelow(stored) }
      runs.push(full)
      bench.onRun(name, full)
    },
    result: () => ({ name, ours: 'vml', peer, runs, figures: figuresOf(runs, { ours: 'vml', peer }) }),
  }
}

interface Tool {
  readonly repository: string
  readonly env: Readonly<Record<string, string>>
  command(args: readonly string[]): MeasuredRun
  /** Not measured. */
  run(args: readonly string[]): Promise<void>
}

/** Known to both programs: for VML the recovery key, which stock restic takes as its password. */
function writePassword(folder: string): string {
  const file = join(folder, 'password')
  writeFileSync(file, 'only for measurements\n', { mode: 0o600 })
  return file
}

async function makeLogbook(
  { work }: Bench,
  name: string,
  more: Readonly<Record<string, string>> = {},
): Promise<Tool> {
  const folder = join(work, name)
  const home = join(folder, 'home')
  const repository = join(folder, 'logbook')
  mkdirSync(home, { recursive: true })
  const passwordFile = writePassword(folder)
  const env = vmlEnvironment({ home, env: more })
  const run = async (args: readonly string[]) => {
    const { status, stderr } = await runVml(args, { home, env: more })
    if (status !== 0) throw new Error(`vml ${args.join(' ')} ended with ${status}: ${stderr}`)
  }
  await run(['init', repository, '--password-file', passwordFile])
  return {
    repository,
    env,
    command: (args) => ({ command: [...vmlCommand, ...args, '--quiet'], env, cwd: home }),
    run,
  }
}

async function makeRestic({ work, restic }: Bench, name: string): Promise<Tool> {
  const folder = join(work, name)
  const repository = join(folder, 'repository')
  mkdirSync(folder, { recursive: true })
  const env = {
    ...vmlEnvironment({ home: folder }),
    RESTIC_REPOSITORY: repository,
    RESTIC_PASSWORD_FILE: writePassword(folder),
    RESTIC_CACHE_DIR: join(folder, 'cache'),
  }
  const run = async (args: readonly string[]) => {
    await promisify(execFile)(restic, args, { env, cwd: folder })
  }
  await run(['init'])
  return {
    repository,
    env,
    command: (args) => ({ command: [restic, ...args], env, cwd: folder }),
    run,
  }
}

/** A quick save of something else is worth nothing: every byte of the last logbook is read by the peer. */
async function checkWithRestic({ restic }: Bench, { repository, env }: Tool): Promise<void> {
  const passwordFile = join(repository, '..', 'password')
  await promisify(execFile)(
    restic,
    ['-r', repository, '--password-file', passwordFile, '--no-cache', 'check', '--read-data'],
    { env },
  )
}

/** Contents by checksum; types, modes, owners, times, links: rsync names what differs. */
async function compareBytes(left: string, right: string): Promise<void> {
  const { stdout } = await promisify(execFile)(
    'rsync',
    ['-ancH', '--delete', '--itemize-changes', `${left}/`, `${right}/`],
    { maxBuffer: 2 ** 28 },
  )
  if (stdout !== '') throw new Error(`${right} is not what was saved:\n${stdout.slice(0, 2000)}`)
}

function bytesBelow(folder: string): number {
  return globSync('**', { cwd: folder }).reduce((sum, name) => {
    const info = lstatSync(join(folder, name))
    return info.isFile() ? sum + info.size : sum
  }, 0)
}
