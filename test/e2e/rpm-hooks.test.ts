// Hooks of dnf and rpm on a real dnf and rpm: what they see, and that neither ever fails for want of them.
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, beforeEach, test } from 'node:test'
import { isFailure } from '../../src/base/failure.ts'
import {
  findRpmHooks,
  installRpmHooks,
  planRpmHooks,
  removeRpmHooks,
  type RpmHooks,
} from '../../src/packages/rpm-hooks.ts'
import { prefixedShell } from '../../src/source/userlands.fixture.ts'
import { openRpmChroot, type RpmChroot } from '../rpm-chroot.ts'
import { buildRpms, publish, rpmPath, type RpmSpec } from '../rpm-packages.ts'

let chroot: RpmChroot
let hooks: RpmHooks

/** Its scripts tell when they ran, in the log in which the stand-in for VML tells when it was called. */
const a = (version: string): RpmSpec => ({
  name: 'a',
  version,
  install: `mkdir -p $R/opt/a; echo ${version} >$R/opt/a/version`,
  sections: `%pre\necho pre ${version} >>/root/log\n%post\necho post ${version} >>/root/log\n%preun\necho preun ${version} >>/root/log`,
  files: ['/opt/a'],
})
const failing: RpmSpec = {
  name: 'failing',
  version: '1',
  sections: '%pre\necho pre failing >>/root/log\nexit 1',
}
const rpmOf = (version: string) => rpmPath(a(version))

before(async () => {
  chroot = await openRpmChroot()
  await publish(chroot, await buildRpms(chroot, [a('1'), a('2'), failing]))
  hooks = await planRpmHooks(prefixedShell(chroot.prefix, 'the chroot'))
})
after(async () => await chroot[Symbol.asyncDispose]())

/** A stand-in for VML: tells what it was called for, and ends as the test says for each verb. `dnf-run` runs the command as in a stage. */
const program = `#!/bin/sh
shift 2
verb=$1
shift
case $verb in
  dnf-run) echo "run $2" >>/root/log; shift; mkdir -p /var/lib/vml; : >/var/lib/vml/inside; "$@"; status=$?; rm /var/lib/vml/inside; echo "ran $status" >>/root/log; exit $status ;;
esac
[ "$verb" != dnf-staged ] || [ -e /root/status-dnf-staged ] || echo staged
echo "$verb$([ "$verb" = dnf-staged ] || sed 's/^/ /' "/proc/$1/comm" 2>/dev/null)" >>/root/log
exit "$(cat "/root/status-$verb" 2>/dev/null || echo 0)"
`

beforeEach(async () => {
  await removeRpmHooks(chroot.path)
  await chroot.run(['rm', '-rf', '/usr/lib/vml', '/var/lib/vml', ...hooks.files.map(({ path }) => path)])
  // Ends of rpm that the test before did not wait for come first.
  while (
    (await chroot.run(['sh', '-c', 'grep -ls "[t]x hook rpm-end" /proc/[0-9]*/cmdline'], { mayFail: true }))
      .stdout !== ''
  )
    await sleep(50)
  await chroot.sh('rpm -e a 2>/dev/null; rm -rf /root/log /root/status-*')
  await installRpmHooks(chroot.path, hooks)
  writeProgram(program)
})

function writeProgram(text: string): void {
  const path = join(chroot.path, 'usr/lib/vml/program')
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  chmodSync(path, 0o755)
}

function endWith(verb: string, status: number): void {
  writeFileSync(join(chroot.path, 'root', `status-${verb}`), String(status))
}

function told(): string[] {
  const path = join(chroot.path, 'root/log')
  return existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : []
}

async function untilTold(word: string): Promise<string[]> {
  for (let tries = 0; tries < 3000 && !told().some((line) => line.startsWith(word)); tries++) await sleep(20)
  return told()
}

test('a plain dnf command is begun anew in a stage, before anything has changed, and ends with what it ended with there', async () => {
  const { stdout } = await chroot.run(['dnf', '-y', 'install', 'a-1'])
  assert.match(stdout, /Complete!/)
  assert.deepEqual(told(), ['dnf-staged', 'run /usr/bin/dnf', 'pre 1', 'post 1', 'ran 0'])
  await chroot.run(['rpm', '-q', 'a-1'])
  const failed = await chroot.run(['dnf', '-y', 'install', 'failing'], { mayFail: true })
  assert.equal(failed.status, 1)
  assert.deepEqual(told().slice(-3), ['run /usr/bin/dnf', 'pre failing', 'ran 1'])
})

test('where no stage can be had, the same command is enclosed by a begin and an end on the live system, failed or not', async () => {
  endWith('dnf-staged', 1)
  await chroot.run(['dnf', '-y', 'install', 'a-1'])
  assert.deepEqual(told(), ['dnf-staged', 'dnf-begin dnf', 'pre 1', 'post 1', 'dnf-end dnf'])
  await chroot.run(['rm', '/root/log'])
  const failed = await chroot.run(['dnf', '-y', 'install', 'failing'], { mayFail: true })
  assert.equal(failed.status, 1)
  assert.deepEqual(told(), ['dnf-staged', 'dnf-begin dnf', 'pre failing', 'dnf-end dnf'])
})

test('a refusal stops dnf before anything has changed, any other failure does not', async () => {
  endWith('dnf-staged', 1)
  endWith('dnf-begin', 99)
  const refused = await chroot.run(['dnf', '-y', 'install', 'a-1'], { mayFail: true })
  assert.notEqual(refused.status, 0)
  assert.match(refused.stderr, /vml: nothing may be changed now/)
  assert.deepEqual(told(), ['dnf-staged', 'dnf-begin dnf'])
  endWith('dnf-begin', 70)
  await chroot.run(['dnf', '-y', 'install', 'a-1'])
  assert.deepEqual(told().slice(-2), ['pre 1', 'post 1'])
})

test('what changes nothing here is not recorded: questions, tests, downloads, other roots, and nothing to do', async () => {
  for (const words of [
    ['dnf', '-y', 'upgrade'],
    ['dnf', '--assumeno', 'install', 'a'],
    ['dnf', 'list', 'available'],
    ['dnf', '-y', '--setopt=tsflags=test', 'install', 'a'],
    ['dnf', '-y', '--downloadonly', 'install', 'a'],
    ['rpm', '-qa'],
    ['rpm', '-q', '-i', 'basefs'],
    ['rpm', '-vqi', 'basefs'],
    ['rpm', '--dbpath', '/root/elsewhere', '-i', '--nodeps', '--justdb', rpmOf('1')],
    ['rpm', '--root=/srv/other', '-e', 'nothing'],
    ['rpm', '-V', 'basefs'],
    ['rpm', '-K', rpmOf('1')],
    ['rpm', '-qip', rpmOf('1')],
    ['rpm', '-U', '--test', rpmOf('1')],
    ['rpm', '--eval', '%_topdir'],
    ['rpm', '-i', '--nodeps', '--noscripts', '--root', '/srv/other', rpmOf('1')],
    ['rpmbuild', '--version'],
  ])
    await chroot.run(words, { mayFail: true })
  assert.deepEqual(told(), [])
})

test('rpm without dnf is enclosed by a begin, which precedes its first script, and an end that follows its last', async () => {
  await chroot.run(['rpm', '-i', rpmOf('1')])
  assert.deepEqual(await untilTold('rpm-end'), ['rpm-begin rpm', 'pre 1', 'post 1', 'rpm-end'])
  await chroot.run(['rm', '/root/log'])
  await chroot.run(['rpm', '-Uvh', '--quiet', rpmOf('2')])
  assert.deepEqual(await untilTold('rpm-end'), ['rpm-begin rpm', 'pre 2', 'post 2', 'preun 1', 'rpm-end'])
  await chroot.run(['rm', '/root/log'])
  await chroot.run(['rpm', '--root', '/', '--dbpath', '/var/lib/rpm', '-e', '--', 'a'])
  assert.deepEqual(await untilTold('rpm-end'), ['rpm-begin rpm', 'preun 2', 'rpm-end'])
})

test('dnf5 is enclosed from when it has the lock of its deeds, and asked questions before that call nothing', async () => {
  // A shell by its name does what dnf5 was seen to do: rpm begins for each question, too.
  await chroot.sh('cp /bin/dash /usr/bin/dnf5; ln -sf dnf5 /usr/bin/microdnf; mkdir -p /run/dnf')
  const asks = 'rpm() { sh -c "exec /usr/lib/vml/rpm-hook rpm-begin"; }; rpm;'
  const deeds = `${asks} exec 9>/run/dnf/rpmtransaction.lock; rpm; echo deeds >>/root/log`
  await chroot.run(['dnf5', '-c', asks])
  await chroot.run(['dnf5', '-c', deeds, '--installroot=/srv/other'])
  await chroot.run(['sh', '-c', deeds])
  assert.deepEqual(told(), ['deeds', 'deeds'])
  for (const name of ['dnf5', 'microdnf']) {
    await chroot.run(['rm', '-f', '/root/log'])
    await chroot.run([name, '-c', deeds, '-q', '-y'])
    assert.deepEqual(await untilTold('rpm-end'), [`rpm-begin ${name}`, 'deeds', 'rpm-end'])
  }
  await chroot.run(['rm', '/usr/bin/dnf5', '/usr/bin/microdnf'])
})

test('a half-removed or broken VML never makes dnf or rpm fail', async () => {
  const places = [...hooks.files.map(({ path }) => path), '/usr/lib/vml/program', '/usr/lib/vml']
  const broken: readonly (readonly [string, () => void])[] = [
    ...places.map(
      (path) => [`without ${path}`, () => rmSync(join(chroot.path, path), { recursive: true })] as const,
    ),
    ...places
      .filter((path) => path !== '/usr/lib/vml')
      .map((path) => [`with an empty ${path}`, () => writeFileSync(join(chroot.path, path), '')] as const),
    ['program that is gone', () => writeProgram('#!/bin/sh\nexit 98\n')],
    ['program that is not one', () => writeProgram('\u0000\u0001nothing')],
    ['program without its interpreter', () => writeProgram('#!/nowhere\n')],
    ['program that nobody may start', () => chmodSync(join(chroot.path, 'usr/lib/vml/program'), 0o644)],
    [
      'a plugin of nonsense',
      () => {
        const plugin = hooks.files.find(({ path }) => path.endsWith('.py'))
        writeFileSync(join(chroot.path, plugin?.path ?? ''), 'this is no python')
      },
    ],
  ]
  for (const [name, breakIt] of broken) {
    await removeRpmHooks(chroot.path)
    await chroot.run(['rm', '-rf', '/usr/lib/vml', ...hooks.files.map(({ path }) => path)])
    await installRpmHooks(chroot.path, hooks)
    writeProgram(program)
    assert.equal(await findRpmHooks(chroot.path, hooks), 'all')
    breakIt()
    const install = await chroot.run(['dnf', '-y', '-q', 'install', 'a-1'], { mayFail: true })
    assert.equal(install.status, 0, `${name}: ${install.stdout}${install.stderr}`)
    assert.equal((await chroot.run(['rpm', '-q', 'a'], { mayFail: true })).status, 0, `${name}: dnf installs`)
    const erase = await chroot.run(['rpm', '-e', 'a'], { mayFail: true })
    assert.equal(erase.status, 0, `${name}: ${erase.stdout}${erase.stderr}`)
    assert.equal((await chroot.run(['rpm', '-q', 'a'], { mayFail: true })).status, 1, `${name}: rpm erases`)
  }
})

test('disabled, nothing is left of the hooks, after use too', async () => {
  const list = `find / -xdev -not -path '/proc/*' -not -path '/root/*' -not -path '/var/*' -printf '%p %m %U %s\\n' | sort`
  await removeRpmHooks(chroot.path)
  await chroot.run(['rm', '-rf', '/usr/lib/vml'])
  await chroot.run(['dnf', '-y', 'install', 'a-1'])
  await chroot.run(['rpm', '-e', 'a'])
  const without = await chroot.sh(list)
  await installRpmHooks(chroot.path, hooks)
  assert.notEqual((await chroot.sh(list)).stdout, without.stdout)
  await chroot.run(['dnf', '-y', 'install', 'a-1'])
  await chroot.run(['rpm', '-e', 'a'])
  assert.deepEqual(await removeRpmHooks(chroot.path), { left: [] })
  assert.equal((await chroot.sh(list)).stdout, without.stdout)
  assert.deepEqual(await removeRpmHooks(chroot.path), { left: [] })
  assert.equal(await findRpmHooks(chroot.path, hooks), 'none')
})

test('files of somebody else’s are neither replaced nor removed, and a list of shared folders in use is left in peace', async () => {
  const plugin = hooks.files.find(({ path }) => path.endsWith('.py'))
  assert.ok(plugin)
  writeFileSync(join(chroot.path, plugin.path), '# mine\n')
  await assert.rejects(installRpmHooks(chroot.path, hooks), (error) => isFailure(error, 'exists'))
  assert.deepEqual(await removeRpmHooks(chroot.path), { left: [plugin.path] })
  rmSync(join(chroot.path, plugin.path))
  await chroot.sh('cp /etc/rpm/macros /root/macros; echo "%_netsharedpath /srv" >>/etc/rpm/macros')
  const planned = await planRpmHooks(prefixedShell(chroot.prefix, 'the chroot'))
  await chroot.sh('mv /root/macros /etc/rpm/macros')
  assert.ok(planned.files.every(({ path }) => !path.includes('macros')))
  assert.match(planned.unseen.join(), /_netsharedpath/)
})
