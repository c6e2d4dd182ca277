// A logbook on another computer over sftp, from init to restore, and stock restic on the same one.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome, type VmlOutcome } from '../cli.ts'
import { resticProgram } from '../restic-peer.ts'
import { type Sshd, startSshd } from '../sshd.ts'

/** Of `restic cat index`. */
interface IndexContent {
  readonly packs: readonly { readonly id: string; readonly blobs: readonly { readonly type: string }[] }[]
}

interface Place extends AsyncDisposable {
  readonly home: TestHome
  readonly location: string
  /** The folder on the server. */
  readonly root: string
  run(...args: readonly string[]): Promise<VmlOutcome>
  /** Standard output; fails where the status is not 0. */
  vml(...args: readonly string[]): Promise<string>
  restic(version: '0.14' | '0.19', ...args: readonly string[]): string
}

async function openPlace(): Promise<Place> {
  await using resources = new AsyncDisposableStack()
  const sshd: Sshd = resources.use(await startSshd({ config: ['Subsystem sftp internal-sftp'] }))
  const home = resources.use(await openTestHome({ logbook: false }))
  const folder = mkdtempSync(join(tmpdir(), 'vml-sftp-'))
  resources.defer(() => rmSync(folder, { recursive: true, force: true }))
  const root = join(folder, 'book')
  const { user, port, sshConfigFile } = sshd
  const location = `sftp://${user}@127.0.0.1:${port}/${root}`
  const run: Place['run'] = async (...args) =>
    await home.run(args, { env: { VML_SSH_CONFIG: sshConfigFile } })
  const owned = resources.move()
  return {
    home,
    location,
    root,
    run,
    async vml(...args) {
      const { status, stdout, stderr } = await run(...args)
      assert.equal(status, 0, `${args.join(' ')}: ${stderr}`)
      return stdout
    },
    restic: (version, ...args) =>
      execFileSync(
        resticProgram(version),
        [
          ...['-r', location, '--no-cache', '--password-file', home.passwordFile],
          ...['-o', `sftp.command=ssh -F ${sshConfigFile} ${user}@127.0.0.1 -s sftp`],
          ...args,
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
      ),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

test('a home is saved to another computer over sftp, looked at, checked and restored; restic reads it there', async () => {
  await using place = await openPlace()
  const { home, vml, root } = place
  mkdirSync(join(home.home, 'work'))
  for (let file = 0; file < 20; file++)
    writeFileSync(join(home.home, 'work', `f${file}`), `${file}`.repeat(file * 1000))
  await vml('init', place.location, '--password-file', home.passwordFile)
  await vml('machine', 'add', 'here', 'local:')
  await vml('save', 'here', '-m', 'first')
  writeFileSync(join(home.home, 'work', 'f3'), 'changed')
  await vml('save', 'here', '-m', 'second')
  assert.match(await vml('ls', `1:${home.home}/work`), /^f19$/m)
  await vml('check', '--read-data')
  const back = join(home.home, 'back')
  await vml('restore', '2', '--to', back)
  execFileSync('diff', ['-r', join(home.home, 'work'), join(back, home.home, 'work')])
  assert.deepEqual(readdirSync(join(root, 'tmp')), [])
  assert.deepEqual(readdirSync(join(root, 'locks')), [])

  for (const version of ['0.14', '0.19'] as const)
    assert.match(place.restic(version, 'check', '--read-data'), /no errors were found/)

  // Without writing anything, not even a lock; and with copies of this computer gone.
  rmSync(join(home.home, '.cache/vml'), { recursive: true })
  const before = statSync(join(root, 'locks')).mtimeMs
  assert.match(await vml('log', '--read-only'), /second/)
  assert.equal(statSync(join(root, 'locks')).mtimeMs, before)
  assert.equal((await place.run('rm', '1', '--yes', '--read-only')).status, 17)
  assert.match(await vml('log'), /first/)
})

test('a repository that stock restic made over sftp takes entries of VML, and restic restores them', async () => {
  await using place = await openPlace()
  const { home, vml } = place
  place.restic('0.19', 'init')
  mkdirSync(join(home.home, 'work'))
  writeFileSync(join(home.home, 'work', 'a.txt'), 'of restic')
  place.restic('0.19', 'backup', join(home.home, 'work'))
  await vml('machine', 'add', 'here', 'local:')
  writeFileSync(join(home.home, 'work', 'b.txt'), 'of VML')
  const options = ['--logbook', place.location, '--password-file', home.passwordFile]
  await vml('save', 'here', '-m', 'beside restic', ...options)
  assert.match(await vml('log', ...options), /beside restic/)
  const back = join(home.home, 'back')
  place.restic('0.19', 'restore', 'latest', '--target', back)
  assert.ok(existsSync(join(back, home.home, 'work', 'b.txt')))
  assert.match(place.restic('0.19', 'check', '--read-data'), /no errors were found/)
})

test('what was looked at once is looked at again without a pack from the other computer', async () => {
  await using place = await openPlace()
  const { home, root, vml } = place
  const work = join(home.home, 'work')
  for (const folder of ['a/b/c', 'd']) mkdirSync(join(work, folder), { recursive: true })
  writeFileSync(join(work, 'a/b/c/file'), 'one')
  await vml('init', place.location, '--password-file', home.passwordFile)
  await vml('machine', 'add', 'here', 'local:')
  await vml('save', 'here', '--only', work)
  writeFileSync(join(work, 'd/file'), 'two')
  await vml('save', 'here', '--only', work)
  const look = async () => {
    // How long ago an entry was made, and what lies on the other computer, may be told otherwise a moment later.
    const [, isAsBefore] = (await vml('status', 'here')).split('\n')
    return [await vml('ls', '2:/', '--recursive'), await vml('diff', '1', '2'), isAsBefore]
  }
  const first = await look()
  renameSync(join(root, 'data'), join(root, 'away'))
  assert.deepEqual(await look(), first)
  renameSync(join(root, 'away'), join(root, 'data'))

  // Without the copies all of it comes from there again.
  rmSync(join(home.home, '.cache/vml'), { recursive: true })
  assert.deepEqual(await look(), first)
})

test('folders that the other computer has lost are stored again, though copies of them are here', async () => {
  await using place = await openPlace()
  const { home, root, vml } = place
  const work = join(home.home, 'work')
  const write = (path: string, content: string) => {
    mkdirSync(dirname(join(work, path)), { recursive: true })
    writeFileSync(join(work, path), content)
  }
  const restic = (...args: string[]) => place.restic('0.19', ...args)
  for (const path of ['a/b/c/1', 'a/b/c/2', 'z/x']) write(path, path)
  await vml('init', place.location, '--password-file', home.passwordFile)
  await vml('machine', 'add', 'here', 'local:')
  await vml('save', 'here', '--only', work)
  const packs = restic('list', 'index')
    .trim()
    .split('\n')
    .flatMap((id) => (JSON.parse(restic('cat', 'index', id)) as IndexContent).packs)
  // The second entry has a tree of its own for `a`; what lies below is still that of the first.
  write('a/new', 'new')
  await vml('save', 'here', '--only', work)
  for (const { id, blobs } of packs)
    if (blobs.every(({ type }) => type === 'tree')) rmSync(join(root, 'data', id.slice(0, 2), id))
  write('z/x', 'changed')
  await vml('save', 'here', '--only', work)
  const back = join(home.home, 'back')
  restic('restore', 'latest', '--target', back)
  assert.equal(readFileSync(join(back, work, 'a/b/c/2'), 'utf8'), 'a/b/c/2')
  assert.equal(readFileSync(join(back, work, 'z/x'), 'utf8'), 'changed')
})
