// The story of the demo: work in one guest, save it twice, hand it over, open it on another base image, go back by one file; in between, one change of a system's software is undone.
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Guest, startGuest } from '../../test/guests.ts'
import { writeCatalog } from '../images/catalog.ts'
import { buildImage } from '../images/images.ts'
import { serveImages } from '../images/serve.ts'
import { type Check, checkWithRestic, compareGuest, type Ssh, writeReference } from './checks.ts'
import { type Computer, openComputer, orAbort, runProgram, type Stage } from './computer.ts'
import { type Report, sizeOf, type Timing } from './report.ts'
import { openUndoAct } from './undo-act.ts'
import { changedFile, deletedFile, firstWork, moreWork, prepareLibrary } from './work.ts'

export interface Place {
  /** For everything that goes at the end. */
  readonly work: string
  /** Where the first logbook and its password lie; they may stay. */
  readonly keep: string
}

const machineName = 'copy'

/** What it starts is stopped and removed by `resources`, however the story ends. */
export async function play(stage: Stage, place: Place, resources: AsyncDisposableStack): Promise<Report> {
  const started = performance.now()
  const timings: Timing[] = []
  const checks: Check[] = []
  const timed = async <T>(step: string, work: () => Promise<T>, detail: (done: T) => string = () => '') => {
    stage.signal.throwIfAborted()
    const begun = performance.now()
    const done = await work()
    timings.push({ step, seconds: (performance.now() - begun) / 1000, detail: detail(done) })
    return done
  }

  stage.print('Getting ready: images, an image repository, a first guest (made once, resumed from then on)')
  const url = await timed('image repository', async () => await publishImages(stage, place, resources))
  const guest = await timed('first guest', async () =>
    resources.use(await orAbort(stage, startGuest({ image: 'tiny@1' }))),
  )
  const undo = await timed('a Debian to change', async () => await openUndoAct(stage, resources))
  const ssh = guestSsh(stage, guest)

  const first = await openComputer(stage, { name: 'first', folder: place.work })
  const logbook = join(place.keep, 'logbook')
  const passwordFile = join(place.keep, 'password')
  await configureFirst(first, guest, url)
  await writeFile(passwordFile, `${randomBytes(16).toString('hex')}\n`, { mode: 0o600 })

  heading(stage, 'On the first computer: a logbook, and a machine on the base image tiny@1')
  await first.vml(['init', logbook, '--password-file', passwordFile])
  await first.vml(['machine', 'add', 'lab', 'ssh://lab@guest', '--image', 'tiny@1'])

  heading(stage, 'Work in the machine: an analysis with a library of its own in /opt/fit')
  await guest.root(prepareLibrary)
  say(stage, './analysis/run', (await guest.lab(firstWork)).stdout)
  await timed(
    'save #1',
    async () => await first.vml(['save', 'lab', '-m', 'First fit', '--include', '/opt/fit']),
  )
  const before = (await guest.lab(`sha256sum ${changedFile}`)).stdout

  heading(stage, 'More work: more points, other notes, a folder renamed, a draft deleted')
  say(stage, './analysis/run', (await guest.lab(moreWork)).stdout)
  const reference = await timed("reference by the guest's tar", async () => await writeReference(ssh))
  await timed(
    'save #2',
    async () => await first.vml(['save', 'lab', '-m', 'More points', '--include', '/opt/fit']),
  )
  await timed('diff', async () => await first.vml(['diff', '1', '2']))
  const share = join(first.home, 'fit.vml')
  await timed('share', async () => await first.vml(['share', '2', '-o', 'fit.vml']))

  if (undo) {
    heading(
      stage,
      'As root of a Debian: three changes of its software, of which the second one is taken back',
    )
    checks.push(...(await timed('undo one change', undo)))
  }

  heading(
    stage,
    'On the second computer: only the file fit.vml and the address of the image repository came over',
  )
  const second = await openComputer(stage, { name: 'second', folder: place.work })
  await configureSecond(second, url)
  await copyFile(share, join(second.home, 'fit.vml'))
  const secondPassword = join(second.home, 'password')
  await writeFile(secondPassword, `${randomBytes(16).toString('hex')}\n`, { mode: 0o600 })
  await second.vml(['init', 'logbook', '--password-file', secondPassword])
  await timed('import', async () => await second.vml(['import', 'fit.vml', '--yes']))
  resources.defer(async () => await removeMachine(second))
  const opened = await timed(
    'open on tiny@2',
    async () => await second.vml(['open', '2', '--image', 'tiny@2', '--name', machineName]),
  )
  const secondSsh = printedSsh(stage, opened.output)
  say(stage, './analysis/run', (await secondSsh('./analysis/run')).output)
  say(
    stage,
    'fit analysis/points.txt   # with the library of this image',
    (await secondSsh('fit analysis/points.txt')).output,
  )
  stage.print(
    `\n  guest$ tar -d; sha256sum -c; getfattr, getfacl   # against what the first guest wrote before the save`,
  )
  checks.push(
    ...(await timed('compare guests', async () => await compareGuest(secondSsh, reference, deletedFile))),
  )

  heading(stage, 'Back on the first computer: the notes as they were before, and nothing else')
  await timed('restore one file', async () => await first.vml(['restore', `1:${changedFile}`]))
  const after = (await guest.lab(`sha256sum ${changedFile}`)).stdout
  checks.push({
    name: 'restored file',
    passed: before === after,
    detail: 'sha256sum says what it said at the first save',
  })
  await first.vml(['log'])

  heading(stage, 'Last, restic reads both logbooks: stock restic can open them without VML')
  const homes = [
    { whose: 'first', logbook, passwordFile },
    { whose: 'second', logbook: join(second.home, 'logbook'), passwordFile: secondPassword },
  ]
  for (const { whose, ...home } of homes)
    checks.push(
      await timed(
        `restic check, ${whose}`,
        async () => await checkWithRestic(stage, { ...home, cache: place.work }),
      ),
    )
  return {
    schema: 1,
    passed: checks.every(({ passed }) => passed),
    seconds: (performance.now() - started) / 1000,
    timings,
    sizes: {
      'saved, one state': reference.tar.length,
      'logbook, 3 entries': await sizeOf(logbook),
      'share file': await sizeOf(share),
    },
    checks,
    entries: await entriesOf(first),
  }
}

async function publishImages(
  stage: Stage,
  { work }: Place,
  resources: AsyncDisposableStack,
): Promise<string> {
  const folder = join(work, 'images')
  const images = await orAbort(stage, Promise.all([buildImage('tiny@1'), buildImage('tiny@2')]))
  await writeCatalog(folder, images)
  return resources.use(await serveImages({ dir: folder })).url
}

async function configureFirst({ home }: Computer, guest: Guest, url: string): Promise<void> {
  const sshConfig = join(home, 'ssh_config')
  await writeFile(
    sshConfig,
    `Host guest
  HostName 127.0.0.1
  HostKeyAlias [127.0.0.1]:${guest.port}
  Port ${guest.port}
  IdentityFile ${guest.keyFile}
  IdentitiesOnly yes
  UserKnownHostsFile ${guest.knownHostsFile}
  StrictHostKeyChecking yes
`,
  )
  await writeConfig(home, `ssh_config = "${sshConfig}"\n\n[images]\ncatalogues = ["${url}"]\n`)
}

async function configureSecond({ home }: Computer, url: string): Promise<void> {
  await writeConfig(home, `[images]\ncatalogues = ["${url}"]\n\n[open]\nmemory_mib = 256\n`)
}

async function writeConfig(home: string, text: string): Promise<void> {
  const folder = join(home, '.config', 'vml')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFile(join(folder, 'config.toml'), text, { mode: 0o600 })
}

function guestSsh(stage: Stage, guest: Guest): Ssh {
  const argv = ['ssh', ...guest.sshArgs, `${guest.user}@${guest.host}`]
  return async (command, input) => await runProgram(stage, { argv: [...argv, command], ...given(input) })
}

/** By the very line that `vml open` printed. */
function printedSsh(stage: Stage, output: string): Ssh {
  const line = output.split('\n').find((each) => each.startsWith('ssh '))
  if (line === undefined) throw new Error('vml open has printed no ssh command')
  return async (command, input) =>
    await runProgram(stage, { argv: ['sh', '-c', `${line} "$1"`, 'sh', command], ...given(input) })
}

function given(input: Uint8Array | undefined): { input?: Uint8Array } {
  return input === undefined ? {} : { input }
}

/** What a demo that was killed has left running: its second guest outlives everybody, as it should in earnest. */
export async function removeLeftGuest(stage: Stage, work: string): Promise<void> {
  await removeMachine(await openComputer(stage, { name: 'second', folder: work }))
}

/** Also after a Ctrl-C, when no story runs any more. */
async function removeMachine(second: Computer): Promise<void> {
  const machines: string[] = await readdir(join(second.home, '.local/share/vml/vms')).catch(() => [])
  if (machines.includes(machineName))
    await second.vml(['open', '--rm', machineName, '--yes'], { silent: true, isTidying: true })
}

async function entriesOf(first: Computer): Promise<Report['entries']> {
  const { output } = await first.vml(['log', '--json'], { silent: true })
  const log = JSON.parse(output) as { entries: Report['entries'] }
  return log.entries.map(({ number, id, title }) => ({ number, id, title }))
}

function heading(stage: Stage, text: string): void {
  stage.print(`\n${text}`)
}

function say(stage: Stage, command: string, output: string): void {
  stage.print(`\n  guest$ ${command}`)
  stage.print(`    ${output.trim()}`)
}
