import assert from 'node:assert/strict'
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { systemClock } from '../base/clock.ts'
import { isFailure } from '../base/failure.ts'
import { readConfig, readMachineSettings } from './config.ts'
import { addMachine, removeMachine, setDefaultLogbook } from './write-config.ts'
import { ownPaths } from './own-paths.ts'
import { openTestHome } from '../../test/cli.ts'

test('a flag wins over a variable, a variable over ./.vml.toml, that over config.toml', async () => {
  await using place = await openPlace(
    'logbook = "~/user"\nproject = "p"\n[machines.lab]\naddress = "ssh://lab@vm1"\n',
  )
  const at = (flags: Parameters<typeof readConfig>[0], environment: Record<string, string> = {}) =>
    readConfig(flags, { environment: { HOME: place.home, ...environment }, workingFolder: place.home })
      .logbook
  assert.deepEqual(at({}), {
    value: join(place.home, 'user'),
    from: join(place.home, '.config/vml/config.toml'),
  })
  await writeFile(join(place.home, '.vml.toml'), 'logbook = "here"\n')
  assert.deepEqual(at({}), { value: join(place.home, 'here'), from: './.vml.toml' })
  assert.deepEqual(at({}, { VML_LOGBOOK: '/variable' }), { value: '/variable', from: 'VML_LOGBOOK' })
  assert.deepEqual(at({ logbook: 's3:bucket/x' }, { VML_LOGBOOK: '/variable' }), {
    value: 's3:bucket/x',
    from: '--logbook',
  })
})

test('sources and budget of transactions count in the file of the machine alone, and only as they are meant', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vml-machine-'))
  const file = join(folder, 'config.toml')
  const read = async (text: string) => {
    await writeFile(file, text)
    return readMachineSettings(file)
  }
  try {
    assert.deepEqual(readMachineSettings(join(folder, 'none')), {
      transactions: { pools: [], snapshots: [] },
      warnings: [],
    })
    const { transactions, warnings } = await read(
      'logbook = "/x"\n[transactions]\npools = ["/srv/pool"]\nsnapshots = ["http://a/b"]\nbudget = "8%"\n',
    )
    assert.deepEqual(transactions, {
      pools: ['/srv/pool'],
      snapshots: ['http://a/b'],
      budget: { kind: 'share', percent: 8 },
    })
    assert.equal(warnings.length, 1)
    for (const wrong of ['pools = ["pool"]', 'pools = "/srv"', 'snapshots = ["ftp://a"]', 'budget = "much"'])
      await assert.rejects(read(`[transactions]\n${wrong}\n`), (error) => isFailure(error, 'usage'), wrong)
    const misspelt = await read('[transactions]\npool = ["/srv/pool"]\n')
    assert.match(misspelt.warnings.join(), /"transactions\.pool" .* is no setting of VML/)
    await using place = await openPlace('[transactions]\nbudget = "1%"\n')
    const own = readConfig({}, { environment: { HOME: place.home }, workingFolder: place.home })
    assert.match(own.warnings.join(), /counts only in \/etc\/vml\/config.toml/)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('limits and read-only come from a variable or config.toml, and only as they are meant', async () => {
  await using place = await openPlace('limit_upload = 500\nlimit_download = 2000\nread_only = true\n')
  const at = (environment: Record<string, string>, flags: Parameters<typeof readConfig>[0] = {}) =>
    readConfig(flags, { environment: { HOME: place.home, ...environment }, workingFolder: place.home })
      .storage
  assert.deepEqual(at({}), { uploadKiBPerSecond: 500, downloadKiBPerSecond: 2000, readOnly: true })
  assert.deepEqual(at({ VML_LIMIT_UPLOAD: '7', VML_READ_ONLY: '0' }), {
    uploadKiBPerSecond: 7,
    downloadKiBPerSecond: 2000,
    readOnly: false,
  })
  assert.equal(at({ VML_READ_ONLY: '0' }, { readOnly: true }).readOnly, true)
  for (const wrong of ['0', '-1', '1.5', '1e3', '10M'])
    assert.throws(() => at({ VML_LIMIT_DOWNLOAD: wrong }), { code: 'usage' }, wrong)
  assert.throws(() => at({ VML_READ_ONLY: 'maybe' }), { code: 'usage' })
})

test('a folder of somebody else cannot name a logbook on another computer', async () => {
  await using place = await openPlace('logbook = "sftp:ana@nas:/srv/book"\n')
  assert.equal(place.read().logbook?.value, 'sftp:ana@nas:/srv/book')
  await writeFile(join(place.home, '.vml.toml'), 'logbook = "sftp:evil@elsewhere:/book"\n')
  assert.throws(() => place.read(), { code: 'usage' })
  const named = readConfig(
    { logbook: 'local:here' },
    { environment: { HOME: place.home }, workingFolder: place.home },
  )
  assert.equal(named.logbook?.value, join(place.home, 'here'))
})

test('folders follow XDG, and relative ones are ignored', async () => {
  await using place = await openPlace('')
  const { folders } = readConfig(
    {},
    {
      environment: { HOME: '/h', XDG_DATA_HOME: '/data', XDG_CACHE_HOME: 'cache' },
      workingFolder: place.home,
    },
  )
  assert.deepEqual(folders, {
    config: '/h/.config/vml',
    data: '/data/vml',
    cache: '/h/.cache/vml',
    state: '/h/.local/state/vml',
  })
})

test('a wrong setting names the file and the key', async () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['logbook = 3', /"logbook"/],
    ['machines.lab.address = "http://x"', /machines\.lab\.address/],
    ['machines."../x".address = "local:"', /machines\.\.\.\/x/],
    ['machines.lab = "local:"', /machines\.lab/],
    ['limit_upload = 0', /"limit_upload"/],
    ['limit_download = "fast"', /"limit_download"/],
    ['read_only = 1', /"read_only"/],
    ['open.accelerator = "gpu"', /open\.accelerator/],
    ['images.catalogues = [1]', /images\.catalogues/],
    ['logbook = ', /config\.toml/],
    ['# a comment\nlogbook = "a\n', /config\.toml, line 2: /],
  ]
  for (const [text, message] of wrong) {
    await using place = await openPlace(text)
    assert.throws(
      () => place.read(),
      (error) =>
        isFailure(error, 'usage') && message.test(error.message) && error.message.includes('config.toml'),
      text,
    )
  }
})

test('machines are added and removed, and what the user wrote stays', async () => {
  const written =
    '# mine\nproject = "p" # why\n\n[machines.old]\naddress = "local:"\n\n# about images\n[images]\ncatalogues = []\n'
  await using place = await openPlace(written)
  await addMachine(place.read(), systemClock, {
    name: 'lab.example',
    address: { kind: 'ssh', user: 'lab', host: '::1', port: 2222 },
    image: { name: 'debian', version: '12' },
  })
  assert.equal(place.read().machines.size, 2)
  await assert.rejects(
    addMachine(place.read(), systemClock, { name: 'old', address: { kind: 'local' } }),
    (error) => isFailure(error, 'exists'),
  )
  assert.ok(await setDefaultLogbook(place.read(), systemClock, '/somewhere "else"'))
  assert.ok(!(await setDefaultLogbook(place.read(), systemClock, '/other')))
  assert.equal(place.read().logbook?.value, '/somewhere "else"')
  await removeMachine(place.read(), systemClock, 'lab.example')
  await removeMachine(place.read(), systemClock, 'old')
  await assert.rejects(removeMachine(place.read(), systemClock, 'old'), (error) =>
    isFailure(error, 'not-found'),
  )
  const text = await readFile(place.file, 'utf8')
  for (const kept of ['# mine', 'project = "p" # why', '# about images', 'catalogues = []'])
    assert.ok(text.includes(kept), text)
  assert.equal(place.read().machines.size, 0)
})

test('a file that VML cannot edit by lines is left as it is', async () => {
  const written = 'machines = { lab = { address = "local:" } }\n'
  await using place = await openPlace(written)
  await assert.rejects(removeMachine(place.read(), systemClock, 'lab'), (error) =>
    isFailure(error, 'conflict'),
  )
  await assert.rejects(
    addMachine(place.read(), systemClock, { name: 'new', address: { kind: 'local' } }),
    (error) => isFailure(error, 'conflict'),
  )
  assert.equal(await readFile(place.file, 'utf8'), written)
})

test('programs that add machines at the same time lose none', async () => {
  await using home = await openTestHome({ logbook: false })
  const names = Array.from({ length: 8 }, (_, index) => `m${index}`)
  const outcomes = await Promise.all(names.map((name) => home.run(['machine', 'add', name, 'local:'])))
  for (const { status, stderr } of outcomes) assert.equal(status, 0, stderr)
  const config = readConfig({}, { environment: { HOME: home.home }, workingFolder: home.home })
  assert.deepEqual([...config.machines.keys()].sort(), names)
})

test('what no entry may hold: keys, state, caches, password file and the open logbook', async () => {
  await using place = await openPlace('logbook = "~/book"\npassword_command = "pass vml"\n')
  const config = readConfig(
    { passwordFile: 'secret' },
    { environment: { HOME: place.home }, workingFolder: place.home },
  )
  const paths = ownPaths(config).map(({ path }) => String(path))
  for (const inner of [
    '.local/share/vml/keys',
    '.local/state/vml',
    '.cache/vml',
    'secret',
    'book',
    '.config/vml/config.toml',
  ])
    assert.ok(paths.includes(join(place.home, inner)), inner)
})

async function openPlace(text: string) {
  const home = await mkdtemp(join(tmpdir(), 'vml-config-'))
  const file = join(home, '.config/vml/config.toml')
  await mkdir(join(home, '.config/vml'), { recursive: true })
  await writeFile(file, text)
  return {
    home,
    file,
    read: () => readConfig({}, { environment: { HOME: home }, workingFolder: home }),
    [Symbol.asyncDispose]: () => rm(home, { recursive: true }),
  }
}
