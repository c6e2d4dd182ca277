// C03: the programs of the table of checks as Debian has them: they stand a good change, and say in their own words what is wrong with a bad one.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { stageChecks } from '../../src/transaction/stage-check-table.ts'
import { openRealMachine } from '../transaction-packages.ts'

interface CheckedService {
  readonly check: string
  readonly path: string
  readonly good: string
  readonly bad: string
  /** Of the program, about the bad one. */
  readonly words: RegExp
}

const services: readonly CheckedService[] = [
  {
    check: 'sshd -t',
    path: '/etc/ssh/sshd_config.d/mine.conf',
    good: 'X11Forwarding no',
    bad: 'NoSuchOption yes',
    words: /Bad configuration option: NoSuchOption/,
  },
  {
    check: 'visudo -c',
    path: '/etc/sudoers',
    good: 'Defaults lecture=never',
    bad: 'oops',
    words: /\/etc\/sudoers:\d+:\d+: syntax error/,
  },
  {
    check: 'nginx -t',
    path: '/etc/nginx/conf.d/mine.conf',
    good: 'server { listen 8080; }',
    bad: 'no such thing;',
    words: /unknown directive "no" in \/etc\/nginx\/conf\.d\/mine\.conf:1/,
  },
  {
    check: 'apache2ctl configtest',
    path: '/etc/apache2/conf-enabled/mine.conf',
    good: 'ServerTokens Prod',
    bad: 'NoSuch Directive',
    words: /Invalid command 'NoSuch'/,
  },
  {
    check: 'named-checkconf',
    path: '/etc/bind/named.conf.local',
    good: 'zone "example.org" { type master; file "/etc/bind/db.empty"; };',
    bad: 'zone "example.org" { type master; file "/etc/bind/none"; };',
    words: /\/etc\/bind\/none failed: file not found/,
  },
  {
    check: 'postfix check',
    path: '/etc/postfix/main.cf',
    good: 'compatibility_level = 3.6',
    bad: 'default_process_limit = many',
    words: /fatal: bad numerical configuration: default_process_limit = many/,
  },
  {
    check: 'systemd-analyze verify',
    path: '/etc/systemd/system/mine.service',
    good: '[Service]\\nExecStart=/bin/true',
    bad: '[Service]\\nExecStart=/no/such/program',
    words: /Command \/no\/such\/program is not executable/,
  },
]
const packages = ['nginx', 'apache2', 'bind9', 'bind9-utils', 'postfix', 'openssh-server', 'sudo']
/** In the record, and so in what is told. */
const messageCharactersMax = 4096

const opened: Awaited<ReturnType<typeof openRealMachine>>[] = []
const machineOf = () => {
  const [machine] = opened
  assert.ok(machine)
  return machine.chroot
}
before(async () => {
  const machine = await openRealMachine({})
  opened.push(machine)
  await machine.apt(['install', '--no-install-recommends', ...packages])
})
after(async () => await opened[0]?.[Symbol.asyncDispose]())

const writing = (side: 'good' | 'bad') =>
  services.map((each) => `printf '${each[side]}\\n' >>${each.path}`).join('\n')

test('each of the table is tried', () => {
  assert.deepEqual(
    services.map(({ check }) => check).toSorted(),
    stageChecks.map(({ name }) => name).toSorted(),
  )
})

test('a good change of every service passes every check', async () => {
  const { stdout } = await machineOf().vml([
    'tx',
    'try',
    '--strict',
    '--discard',
    '--',
    'sh',
    '-c',
    writing('good'),
  ])
  const passed = /^ {2}passed: (.*)$/m.exec(stdout)?.[1]?.split(', ') ?? []
  assert.deepEqual(
    services.map(({ check }) => check).filter((check) => !passed.includes(check)),
    [],
    stdout,
  )
})

for (const kind of ['try', 'run'])
  test(`a bad one of every service is found by tx ${kind} --strict, in each program's own words, and nothing is committed`, async () => {
    const chroot = machineOf()
    const all = `cat ${services.map(({ path }) => path).join(' ')} 2>/dev/null; ls /etc/systemd/system`
    const look = async () => (await chroot.sh(all, { mayFail: true })).stdout
    const was = await look()
    const refused = await chroot.vml(['tx', kind, '--strict', '--', 'sh', '-c', writing('bad')], {
      mayFail: true,
    })
    assert.equal(refused.status, 15, refused.stderr)
    for (const { check, words } of services) {
      const from = refused.stderr.indexOf(`${check} failed: `)
      assert.ok(from >= 0, `${check}: ${refused.stderr}`)
      assert.match(refused.stderr.slice(from, from + messageCharactersMax), words)
    }
    assert.ok(refused.stderr.length < services.length * messageCharactersMax)
    assert.equal((await chroot.vml(['tx', 'commit'], { mayFail: true })).status, 4)
    assert.equal(await look(), was)
  })
