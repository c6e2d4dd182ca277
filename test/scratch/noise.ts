import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
await using chroot = await openChroot()
const archive = await openPackageArchive(chroot)
const say = async (label: string, p: Promise<{ status: number; stdout: string; stderr: string }>) => {
  const t = performance.now()
  const r = await p
  console.log(
    `--- ${label} → ${r.status} (${Math.round(performance.now() - t)} ms)\n${(r.stdout + r.stderr).replace(/\(Reading.*\r?/g, '')}`,
  )
  return r
}
const vml = async (...a: string[]) => {
  const r = await say('vml ' + a.join(' '), chroot.vml(a, { mayFail: true }))
  if (r.status === 70) console.log((await chroot.sh('tail -20 /root/.local/state/vml/vml.log')).stdout)
  return r
}
const sh = (s: string) => say(s, chroot.sh(s, { mayFail: true }))
const joe = (version: string, text: string, conf: string) => ({
  name: 'joe',
  version,
  files: { '/usr/bin/joe': { content: text.repeat(3000), mode: 0o755 }, '/etc/joe.conf': conf },
  conffiles: ['/etc/joe.conf'],
})
await archive.publish(
  joe('1.0', 'one\n', 'a=1\nb=2\nc=3\nd=4\n'),
  joe('2.0', 'two\n', 'a=2\nb=2\nc=3\nd=4\n'),
)
await sh('apt-get update -qq')
await vml('tx', 'enable')
await sh('apt-get install -y joe=1.0')
await vml('tx', 'show', '1', '--paths')
await vml('tx', 'run', '--', 'apt-get', 'install', '-y', 'joe=1.0')
await vml('tx', 'run', '--', 'touch', '/etc/hosts', '/var/lib/dpkg/lock')
await vml('tx', 'list')
await vml('tx', 'show', '2', '--paths')
await sh('apt-get install -y --reinstall joe=1.0')
await vml('tx', 'list')
await sh('dpkg --configure -a; dpkg --purge nothere; dpkg -i /nonexist.deb')
await vml('tx', 'list')
await vml('tx', 'run', '--live', '--', 'apt-get', 'install', '-y', 'joe=1.0')
for (const n of ['2', '3', '4', '5', '6']) await vml('tx', 'show', n, '--paths')
await sh('vml cat 1:/.vml/changes.jsonl --logbook /var/lib/vml/logbook')
await sh('vml cat 3:/.vml/changes.jsonl --logbook /var/lib/vml/logbook')
