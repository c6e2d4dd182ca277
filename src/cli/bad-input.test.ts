// What a user can get wrong, and what others leave behind: a clear message, the right status, nothing changed.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { addEntry, openTestLogbook } from '../../test/entries.ts'

let home: TestHome

before(async () => {
  home = await openTestHome()
  const files = { '/home/lab/a.txt': 'a\n' }
  await addEntry(home, { title: 'one', at: '2026-11-01T10:00:00Z', files, tags: ['same'] })
  await addEntry(home, { title: 'two', at: '2026-11-02T10:00:00Z', files, tags: ['same'], number: 7 })
  await addEntry(home, { title: 'three', at: '2026-11-03T10:00:00Z', files: {}, number: 7 })
  await home.run(['machine', 'add', 'lab', 'ssh://lab@vm1'])
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

test('a wrong use, a missing thing and an unclear one each have their status, and no byte changes', async () => {
  const cases: (readonly [number, RegExp, ...string[]])[] = [
    [2, /Unknown command 'lgo'[^]*Did you mean log\?/, 'lgo'],
    [2, /Unknown command 'undo'\n[^]*Did you mean vml tx undo\? /, 'undo', '2'],
    [2, /Did you mean vml machine list or vml tx list or /, 'list'],
    [2, /Unknown option '--macine'[^]*Did you mean --machine\?/, 'log', '--macine', 'x'],
    [2, /Missing required argument 'ENTRY'[^]*write 42/, 'show'],
    [2, /Too many arguments/i, 'show', '1', '2'],
    [2, /Unknown command 'ad'/, 'machine', 'ad'],
    [2, /machine needs a verb of its own[^]*See vml machine --help/, 'machine'],
    [2, /See vml policy set --help/, 'policy', 'set', 'lab', '--every'],
    [
      2,
      /Did you mean --keep-daily\?[^]*See vml policy set --help/,
      'policy',
      'set',
      'lab',
      '--keep-dayly',
      '3',
    ],
    [2, /Unknown command 'lgo'/, 'help', 'lgo'],
    [2, /Cannot both leave secrets out and share them/, 'share', '1', '-o', 'x', '--scrub', '--with-secrets'],
    [2, /Cannot read "#x"/, 'show', '#x'],
    [2, /Cannot read "@\{yesterday\}"/, 'show', '@{yesterday}'],
    [2, /as a path/, 'ls', '1:/../etc'],
    [2, /names no path/, 'cat', '1'],
    [2, /Cannot take "many"/, 'log', '-n', 'many'],
    [2, /Cannot take "0" for --number: it is a whole number, 1 or more/, 'log', '-n', '0'],
    [2, /as a time/, 'log', '--since', 'long ago'],
    [2, /nothing to change/, 'edit', '1'],
    [2, /as a tag/, 'edit', '1', '--tag', 'vml:n=9'],
    [2, /Nothing was changed[^]*--yes/, 'rm', '1'],
    [2, /whole/, 'rm', '1:/home'],
    [2, /Nothing was removed\. Write 1\.\.4/, 'rm', '4..1', '--yes'],
    [2, /Cannot use the address/, 'machine', 'add', 'bad', 'ssh://-oProxyCommand=x'],
    [2, /Cannot call a machine/, 'machine', 'add', '../x', 'local:'],
    [2, /Cannot compare "now" with "now"/, 'diff', 'now', 'now'],
    [2, /known are bash, zsh, fish/, 'completion', 'tcsh'],
    [4, /Cannot find entry "#99"/, 'show', '#99'],
    [4, /Cannot find entry "ffffffff"/, 'rm', 'ffffffff', '--yes'],
    [4, /Cannot tell which entry "#7" is: [0-9a-f]{8} \(#7\) two, [0-9a-f]{8} \(#7\) three/, 'show', '#7'],
    [4, /Cannot tell which entry "same"/, 'edit', 'same', '-m', 'x'],
    [4, /Cannot tell which entry "7"/, 'rm', '1', '7', '--yes'],
    [4, /Cannot find "\/nowhere" in #1/, 'ls', '1:/nowhere'],
    [4, /Cannot find "\/home\/lab\/a.txt\/b" in #1/, 'cat', '1:/home/lab/a.txt/b'],
    [4, /Cannot find machine "nobody"/, 'machine', 'rm', 'nobody'],
    [4, /Cannot find machine "nobody"/, 'log', 'nobody'],
    [4, /machine add far local: for this host/, 'save', 'far'],
    [4, /Nothing was changed[^]*--to DIR[^]*machine add far local:/, 'restore', '1', 'far'],
    [5, /there is one of that name/, 'machine', 'add', 'lab', 'ssh://lab@vm2'],
    [5, /there is one, and it was left as it is/, 'init', home.logbook, '--password-file', home.passwordFile],
    [10, /no logbook is there[^]*right place/, 'log', '--logbook', '/nowhere/at/all'],
    [10, /it is a file, not a folder/, 'log', '--logbook', home.passwordFile],
    [2, /of type dir/, 'cat', '1:/home/lab'],
  ]
  const state = () => digestOf(home.logbook, join(home.home, '.config'))
  const beforeAll = state()
  const [short, none] = [join(home.home, 'short'), join(home.home, 'none')]
  await writeFile(short, '1234567\n')
  for (const args of [
    ['init', none, '--password-file', short],
    ['key', 'add', '--new-password-file', short],
    ['key', 'password', '--new-password-file', short],
  ])
    cases.push([2, /less than 8 characters: nothing was (written|changed)/, ...args])
  const planned = await home.run(['rm', '1', '--dry-run'])
  assert.match(planned.stdout, /one \+same$/m)
  for (const [status, message, ...args] of cases) {
    const outcome = await home.run(args)
    assert.equal(outcome.status, status, `${args.join(' ')}: ${outcome.stderr}`)
    assert.match(outcome.stderr, message, args.join(' '))
    assert.equal(outcome.stdout.includes('Removed'), false)
    assert.equal(state(), beforeAll, args.join(' '))
  }
})

test('a wrong key says what was tried, and prints no secret', async () => {
  const wrong = join(home.home, 'wrong')
  await writeFile(wrong, 'not the password\n')
  const named = await home.run(['log', '--password-file', wrong])
  assert.equal(named.status, 12, named.stderr)
  assert.match(named.stderr, /does not open with the password of --password-file/)
  const elsewhere = join(home.home, 'elsewhere')
  await mkdir(elsewhere)
  const stranger = { VML_LOGBOOK: home.logbook, HOME: elsewhere }
  const none = await home.run(['log'], { env: stranger })
  assert.equal(none.status, 12)
  assert.match(none.stderr, /no key for it, and no password was given[^]*recovery key/)
  const command = await home.run(['log'], { env: { ...stranger, VML_PASSWORD_COMMAND: 'echo not-it' } })
  assert.equal(command.status, 12)
  assert.match(command.stderr, /nor|VML_PASSWORD_COMMAND/)
  for (const { stderr } of [named, none, command]) assert.ok(!/not the password|not-it/.test(stderr))
})

test('the recovery key opens the logbook by file, variable and command, in another home', async () => {
  const elsewhere = join(home.home, 'other')
  await mkdir(elsewhere)
  const env = { VML_LOGBOOK: home.logbook, HOME: elsewhere }
  const ways = [
    home.run(['log', '--password-file', home.passwordFile], { env }),
    home.run(['log'], { env: { ...env, VML_PASSWORD_FILE: home.passwordFile } }),
    home.run(['log'], { env: { ...env, VML_PASSWORD_COMMAND: `cat ${home.passwordFile}` } }),
  ]
  for (const { status, stderr } of await Promise.all(ways)) assert.equal(status, 0, stderr)
})

test('a moved logbook opens with the key of this computer, also without its index of keys', async () => {
  const moved = `${home.logbook}-moved`
  await cp(home.logbook, moved, { recursive: true })
  assert.equal((await home.run(['log', '--logbook', moved])).status, 0)
  await rm(join(home.home, '.local/share/vml/keys/index.json'))
  assert.equal((await home.run(['log', '--logbook', moved])).status, 0)
  assert.ok(existsSync(join(home.home, '.local/share/vml/keys/index.json')))
})

test('./.vml.toml may name a logbook, and nothing that runs', async () => {
  const folder = join(home.home, 'project')
  await mkdir(folder)
  const mark = join(home.home, 'ran')
  await writeFile(
    join(folder, '.vml.toml'),
    `logbook = "${home.logbook}"\npassword_command = "touch ${mark}"\nssh_config = "x"\n`,
  )
  const elsewhere = join(home.home, 'third')
  await mkdir(elsewhere)
  const { status, stderr } = await home.run(['log'], { cwd: folder, env: { HOME: elsewhere } })
  assert.equal(status, 12)
  assert.match(stderr, /"password_command".*counts only in your own config\.toml/)
  assert.ok(!existsSync(mark))
})

test('a locked logbook is read, and not changed', async () => {
  await using logbook = await openTestLogbook(home)
  await using _lock = await logbook.repository.lock('exclusive')
  const beforeAll = digestOf(home.logbook)
  for (const [args, told] of [
    [['edit', '1', '-m', 'x'], /Wait until it is done/],
    [['rm', '1', '--yes'], /Nothing was removed\. Wait until it is done/],
  ] as const) {
    const { status, stderr } = await home.run(args)
    assert.equal(status, 11, stderr)
    assert.match(stderr, told)
    assert.doesNotMatch(stderr, /switched off/)
  }
  assert.equal(digestOf(home.logbook), beforeAll)
  assert.equal((await home.run(['log'])).status, 0)
})

test('init without a terminal and without a recovery key writes nothing', async () => {
  await using fresh = await openTestHome({ logbook: false })
  const { status, stderr } = await fresh.run(['init', fresh.logbook])
  assert.equal(status, 2)
  assert.match(stderr, /nothing was written/)
  assert.ok(!existsSync(fresh.logbook))
  assert.ok(!existsSync(join(fresh.home, '.local/share/vml')))
  assert.ok(!existsSync(join(fresh.home, '.config/vml')))
  await mkdir(fresh.logbook)
  await writeFile(join(fresh.logbook, 'thesis.tex'), 'x')
  const full = await fresh.run(['init', fresh.logbook, '--password-file', fresh.passwordFile])
  assert.equal(full.status, 5)
  assert.match(full.stderr, /not empty/)
})

test('keys are private, and an init that was cut off can be repeated', async () => {
  await using fresh = await openTestHome()
  for (const path of globSync('.local/share/vml/keys/*', { cwd: fresh.home }))
    assert.equal(statSync(join(fresh.home, path)).mode & 0o077, 0, path)
  assert.equal(statSync(join(fresh.home, '.config/vml/config.toml')).mode & 0o077, 0)
  // Everything but the config, which is written last.
  await rename(join(fresh.logbook, 'config'), join(fresh.home, 'config-aside'))
  const again = await fresh.run(['init', fresh.logbook, '--password-file', fresh.passwordFile])
  assert.equal(again.status, 0, again.stderr)
  assert.equal((await fresh.run(['log'])).status, 0)
})

test('a damaged pack, index, snapshot or key is named, with what it affects', async () => {
  await using fresh = await openTestHome()
  await addEntry(fresh, { title: 'one', at: '2026-11-01T10:00:00Z', files: { '/home/lab/a.txt': 'a\n' } })
  const names = {
    data: /damaged.*pack/,
    index: /damaged.*index/,
    snapshots: /damaged.*snapshot/,
    keys: /key file [0-9a-f]{8}/,
  }
  for (const [kind, message] of Object.entries(names)) {
    const [file = ''] = globSync(`${kind}/**/*`, { cwd: fresh.logbook })
      .toSorted()
      .filter((path) => statSync(join(fresh.logbook, path)).isFile())
    const path = join(fresh.logbook, file)
    const whole = readFileSync(path)
    const damaged = Buffer.from(whole)
    damaged[whole.length >> 1] = (damaged[whole.length >> 1] ?? 0) ^ 0xff
    await rm(path)
    await writeFile(path, damaged)
    const { status, stdout, stderr } = await fresh.run(['check', '--read-data'])
    assert.equal(status, 20, `${kind}: ${stdout}${stderr}`)
    assert.match(stdout + stderr, message, kind)
    // The other key opens it, and the check tells of this one.
    if (kind === 'keys') {
      const ways = [fresh.run(['check']), fresh.run(['check', '--password-file', fresh.passwordFile])]
      const found = (await Promise.all(ways)).map((way) => way.stdout)
      assert.ok(
        found.some((text) => /damaged.*key/.test(text)),
        found.join(),
      )
    }
    await rm(path)
    await writeFile(path, whole)
  }
  assert.equal((await fresh.run(['check', '--read-data'])).status, 0)
})

/** Names, sizes and contents of everything below the folders. */
function digestOf(...folders: readonly string[]): string {
  const hash = createHash('sha256')
  for (const folder of folders)
    for (const name of globSync('**/*', { cwd: folder }).toSorted()) {
      const path = join(folder, name)
      hash.update(`${name}\0`)
      if (statSync(path).isFile()) hash.update(readFileSync(path))
    }
  return hash.digest('hex')
}
