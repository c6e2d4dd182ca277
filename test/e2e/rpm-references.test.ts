// Old .rpm files that somebody keeps: what they give again is referred to, as it is of .deb files.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileOf, openRpmMachine } from '../rpm-machine.ts'
import type { RpmSpec } from '../rpm-packages.ts'

/** A file with two names, one under a folder's old name, one that is configuration, one that is not in the package. */
const program = (version: string): RpmSpec => ({
  name: 'program',
  version,
  head: ['Epoch: 1'],
  install: `mkdir -p $R/opt/program $R/lib/program $R/etc; seq ${version} 400 >$R/opt/program/a; ln $R/opt/program/a $R/opt/program/b; seq ${version} 300 >$R/lib/program/old; seq ${version} 200 >$R/etc/program.conf; : >$R/opt/program/ghost`,
  sections: `%post\nseq ${version} 500 >/opt/program/ghost`,
  files: [
    '/opt/program/a',
    '/opt/program/b',
    '/lib/program/old',
    '%config(noreplace) /etc/program.conf',
    '%ghost /opt/program/ghost',
  ],
})

test('what an .rpm of a pool gives is referred to, and an undo gets it from there or changes nothing', async () => {
  await using machine = await openRpmMachine([program('1'), program('2')])
  await machine.sh('mkdir -p /etc/vml /srv/pool/p && cat >/etc/vml/config.toml', {
    input: '[transactions]\npools = ["/srv/pool"]\n',
  })
  await machine.run(['rpm', '-i', '--quiet', fileOf(program('1'))])
  await machine.sh(`echo mine >>/etc/program.conf; cp ${fileOf(program('1'))} /srv/pool/p`)
  const before = machine.tree()
  await machine.vml(['tx', 'run', '--', 'rpm', '-U', '--quiet', fileOf(program('2'))])
  const { stdout } = await machine.vml(['tx', 'show', '1', '--json'])
  const { paths }: { paths: { path: string; pre_image: string }[] } = JSON.parse(stdout)
  const kinds = paths.map(({ path, pre_image }) => `${path} ${pre_image}`)
  for (const path of ['/opt/program/a', '/opt/program/b', '/usr/lib/program/old'])
    assert.ok(kinds.includes(`${path} reference`), `${path}: ${kinds.join(', ')}`)
  assert.ok(!kinds.some((kind) => /ghost reference|conf reference/.test(kind)))

  await machine.sh('mv /srv/pool /srv/elsewhere')
  const refused = await machine.vml(['tx', 'undo', '1'], { mayFail: true })
  assert.equal(refused.status, 20)
  assert.match(refused.stderr, /program 1:1-1: no source has the package any more/)
  await machine.sh('mv /srv/elsewhere /srv/pool')
  await machine.vml(['tx', 'undo', '1'])
  assert.equal(
    (await machine.sh('head -n 1 /opt/program/ghost; tail -n 1 /etc/program.conf')).stdout,
    '1\nmine\n',
  )
  assert.equal(machine.changedSince(before), '')
})
