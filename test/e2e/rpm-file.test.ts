// Packages of the real rpmbuild, read by us and by the real rpm: the same said, the same contents.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { asRaw } from '../../src/base/raw-text.ts'
import { checkRpmSignatures } from '../../src/packages/rpm-signatures.ts'
import { prefixedShell } from '../../src/source/userlands.fixture.ts'
import { openRpmFile } from '../../src/wire/rpm-file.ts'
import type { RpmListedFile } from '../../src/wire/rpm-listed-files.ts'
import type { RpmRelation, RpmRelationKind } from '../../src/wire/rpm-relations.ts'
import { openRpmChroot, type RpmChroot } from '../rpm-chroot.ts'
import { buildRpms, rpmPath, specText, type RpmSpec } from '../rpm-packages.ts'

let chroot: RpmChroot
before(async () => void (chroot = await openRpmChroot()))
after(async () => await chroot[Symbol.asyncDispose]())

const payloads = ['w9.gzdio', 'w3.zstdio', 'w7.xzdio', 'w9.bzdio', 'w7.lzdio', 'w.ufdio']

const everything: Omit<RpmSpec, 'name'> = {
  version: '1.2~rc1^git3',
  release: '4.el9',
  head: [
    'Epoch: 7',
    'Group: Tools/Ünïcode',
    'Vendor: Nobody',
    'URL: http://localhost/',
    'Provides: virtual = 3, other',
    'Requires: /bin/sh, basefs >= 1, (alpha if beta)',
    'Requires(pre): early',
    'Requires(postun): late < 9',
    'Requires(pretrans): never',
    'PreReq: first',
    'Conflicts: enemy <= 2-1',
    'Obsoletes: older < 5',
    'Recommends: friend',
    'Suggests: idea > 1',
    'Supplements: another',
    'Enhances: third = 1:2-3',
  ],
  install: `mkdir -p "$R/etc" "$R/opt/all/deep/er" "$R/opt/all/empty"
echo settings >"$R/etc/all.conf"; echo kept >"$R/etc/kept.conf"
head -c 300000 /dev/urandom >"$R/opt/all/big"; : >"$R/opt/all/nothing"
printf '\\303\\244' >"$R/opt/all/n\u00e4me"; echo x >"$R/opt/all/deep/er/x"
ln "$R/opt/all/big" "$R/opt/all/a-link"; ln "$R/opt/all/big" "$R/opt/all/deep/z-link"
: >"$R/opt/all/none-1"; ln "$R/opt/all/none-1" "$R/opt/all/none-2"
ln -s ../opt/all/big "$R/opt/all/soft"; echo p >"$R/opt/all/ping"; echo g >"$R/opt/all/ghost"; echo doc >"$R/opt/all/README"`,
  sections: `%pre
echo pre $1
%post -p /bin/sh -e
echo post
%preun
echo preun
%postun -p /bin/true
%pretrans -p <lua>
print("lua")
%posttrans
echo posttrans
%verifyscript
exit 0
%triggerin -- alpha > 1, gamma
echo in
%triggerun -p /bin/bash -- alpha
echo un
%triggerpostun -- delta
echo postun
%triggerprein -- epsilon
echo prein
%filetriggerin -- /usr/lib /usr/share
cat
%transfiletriggerpostun -P 500 -- /etc
cat`,
  files: [
    '%config /etc/all.conf',
    '%config(noreplace) %attr(0600, daemon, adm) /etc/kept.conf',
    '%dir /opt/all',
    '/opt/all/deep',
    '%attr(1777, root, root) %dir /opt/all/empty',
    '/opt/all/big',
    '/opt/all/a-link',
    '/opt/all/n*',
    '/opt/all/soft',
    '%attr(4755, root, root) %caps(cap_net_raw=ep) /opt/all/ping',
    '%ghost /opt/all/ghost',
    '%doc /opt/all/README',
    '%dev(c, 1, 3) %attr(0666, root, root) /opt/all/device',
  ],
}

test('a package says the same to us as to rpm, and gives the contents that rpm puts in place, for each way of packing', async () => {
  const script = payloads.map((payload, index) => {
    const spec = specText({ ...everything, name: `all${index}` }).replaceAll('/all', `/all${index}`)
    return `cat >/root/${index}.spec <<'END'\n${spec}END\nrpmbuild -bb --quiet --define '_binary_payload ${payload}' /root/${index}.spec`
  })
  await chroot.sh(`set -e\n${script.join('\n')}`)
  for (const [index, payload] of payloads.entries()) {
    const inside = rpmPath({ ...everything, name: `all${index}` })
    const file = await openRpmFile(createReadStream(join(chroot.path, inside)))
    assert.equal(file.headerProven, true)
    assert.deepEqual(file.signatures, [])
    assert.deepEqual(
      [file.packing],
      [payload.replace(/^w\d*\.(gz|zst|xz|bz|lz|uf)dio$/, (_, name: string) => packings[name] ?? '')],
    )
    await assertSaysTheSame(inside, file.package)
    await chroot.run(['rpm', '-i', '--nodeps', '--noscripts', '--notriggers', inside])
    const read = new Set<string>()
    for await (const { files, sizeBytes, bytes } of file.contents()) {
      const hash = createHash('sha256')
      for await (const piece of bytes) hash.update(piece)
      const inodes = files.map(({ path }) => statSync(onDisk(path)).ino)
      assert.equal(new Set(inodes).size, 1, 'names of one content are hard links of each other')
      for (const { path } of files) {
        read.add(path)
        assert.equal(statSync(onDisk(path)).size, sizeBytes)
      }
      const [first] = files
      assert.ok(first)
      const there = createHash('sha256').update(readFileSync(onDisk(first.path)))
      assert.equal(hash.digest('hex'), there.digest('hex'))
    }
    const wanted = file.package.files.filter(({ type, isGhost }) => type === 'file' && !isGhost)
    assert.deepEqual([...read].sort(), wanted.map(({ path }) => path).sort())
    for (const listed of file.package.files) if (!listed.isGhost) assertLies(listed)
    await chroot.run(['rpm', '-e', '--noscripts', '--notriggers', `all${index}`])
  }
})

test('a source package is read, too, and its files have no folders', async () => {
  const spec = specText({ name: 'sourced', version: '1' })
  await chroot.sh(`cat >/root/sourced.spec <<'END'\n${spec}END\nrpmbuild -bs --quiet /root/sourced.spec`)
  const inside = '/root/rpmbuild/SRPMS/sourced-1-1.src.rpm'
  const file = await openRpmFile(createReadStream(join(chroot.path, inside)))
  assert.equal(file.package.isSource, true)
  const names: string[] = []
  for await (const { files, bytes } of file.contents()) {
    names.push(...files.map(({ path }) => path))
    const pieces: Buffer[] = []
    for await (const piece of bytes) pieces.push(Buffer.from(piece))
    assert.equal(Buffer.concat(pieces).toString(), spec)
  }
  assert.deepEqual(names, ['/sourced.spec'])
})

test('who signed a package is told as rpm tells it, for each kind of key', async () => {
  for (const [index, key] of [
    'RSA\nKey-Length: 2048',
    'EDDSA\nKey-Curve: ed25519',
    'DSA\nKey-Length: 2048',
  ].entries()) {
    const spec = { name: `signed${index}`, version: '1' }
    const [inside = ''] = await buildRpms(chroot, [spec])
    const user = `signer${index}@localhost`
    await chroot.run(['gpg', '--batch', '--quiet', '--gen-key'], {
      input: `%no-protection\nKey-Type: ${key}\nKey-Usage: sign\nName-Email: ${user}\nExpire-Date: 0\n%commit\n`,
    })
    await chroot.run([
      'rpmsign',
      '--addsign',
      '--define',
      `_gpg_name ${user}`,
      '--define',
      '__gpg /usr/bin/gpg',
      inside,
    ])
    const { signatures, package: said } = await openRpmFile(createReadStream(join(chroot.path, inside)))
    assert.equal(said.name, spec.name)
    const { stdout } = await chroot.run(['rpmkeys', '--checksig', '-v', inside], { mayFail: true })
    const told = [...stdout.matchAll(/(Header )?V[34] (\w+)\/\w+ Signature, key ID ([0-9a-f]+)/g)]
    assert.ok(told.length > 0, stdout)
    assert.deepEqual(
      signatures.map(({ covers, algorithm, keyId = '' }) => [covers, algorithm, keyId.slice(-8)]),
      told.map(([, header, algorithm, id = '']) => [
        header ? 'header' : 'header and payload',
        algorithm,
        id.slice(-8),
      ]),
    )
  }
})

const packings: Readonly<Record<string, string>> = {
  gz: 'gzip',
  zst: 'zstd',
  xz: 'xz',
  bz: 'bzip2',
  lz: 'lzma',
  uf: 'gzip',
}

type Said = Awaited<ReturnType<typeof openRpmFile>>['package']

async function assertSaysTheSame(inside: string, said: Said): Promise<void> {
  const query = async (format: string) =>
    (await chroot.run(['rpm', '-qp', '--qf', format, inside])).bytes.toString('latin1')
  const fields = [
    'NAME',
    'EPOCH',
    'VERSION',
    'RELEASE',
    'ARCH',
    'SUMMARY',
    'GROUP',
    'LICENSE',
    'VENDOR',
    'URL',
    'SOURCERPM',
  ]
  const { name, epoch, version, release, architecture, summary, group, license, vendor, url, source } = said
  assert.deepEqual((await query(fields.map((field) => `%{${field}}\\n`).join(''))).trimEnd().split('\n'), [
    name,
    String(epoch),
    version,
    release,
    architecture,
    summary,
    group,
    license,
    vendor,
    url,
    source,
  ])
  assert.equal(await query('%{DESCRIPTION}'), said.description)
  for (const kind of kinds) {
    const tag = kind.replace(/s$/, '').toUpperCase()
    const format = `[%{${tag}NAME}\\t%{${tag}FLAGS:depflags}\\t%{${tag}VERSION}\\n]`
    assert.equal(await query(format), said.relations[kind].map(relationLine).join(''), kind)
  }
  const phases = await query('[%{REQUIREFLAGS:deptype}\\n]')
  assert.deepEqual(
    phases
      .trimEnd()
      .split('\n')
      .map((words) => words.replace(/^(?:manual|auto|config)$/, '')),
    said.relations.requires.map(phasesLine),
  )
  const columns = [
    'FILENAMES',
    'FILEMODES:octal',
    'FILEUSERNAME',
    'FILEGROUPNAME',
    'LONGFILESIZES',
    'FILEMTIMES',
    'FILEDIGESTS',
    'FILELINKTOS',
    'FILECAPS',
    'FILEINODES',
    'FILEFLAGS:fflags',
  ]
  assert.deepEqual((await query(`[${columns.map((column) => `%{${column}}`).join('\\t')}\\n]`)).split('\n'), [
    ...said.files.map(fileLine),
    '',
  ])
  const scripts = await chroot.run(['rpm', '-qp', '--scripts', inside])
  for (const { interpreter, text } of said.scripts) {
    assert.ok(scripts.bytes.includes(Buffer.from(text, 'latin1')), text)
    assert.ok(scripts.stdout.includes(interpreter.join(' ')), `${interpreter.join(' ')} ${scripts.stdout}`)
  }
  assert.equal(
    scripts.stdout.match(/^\w+ (?:scriptlet|program)/gm)?.length,
    said.scripts.length,
    scripts.stdout,
  )
  const triggers = await query(
    '[%{TRIGGERTYPE}\\t%{TRIGGERCONDS}\\t%{TRIGGERSCRIPTPROG}\\t%{TRIGGERSCRIPTS}\\n]',
  )
  assert.equal(
    triggers,
    said.triggers
      .filter(({ kind }) => kind === 'package')
      .map(triggerLine)
      .join(''),
  )
  const others = [
    await query(
      '[%{FILETRIGGERTYPE}\\t%{FILETRIGGERCONDS}\\t%{FILETRIGGERSCRIPTPROG}\\t%{FILETRIGGERSCRIPTS}\\n]',
    ),
    await query(
      '[%{TRANSFILETRIGGERTYPE}\\t%{TRANSFILETRIGGERCONDS}\\t%{TRANSFILETRIGGERSCRIPTPROG}\\t%{TRANSFILETRIGGERSCRIPTS}\\n]',
    ),
  ]
  assert.equal(
    others.join(''),
    said.triggers
      .filter(({ kind }) => kind !== 'package')
      .map(triggerLine)
      .join(''),
  )
}

const kinds: readonly RpmRelationKind[] = [
  'provides',
  'requires',
  'conflicts',
  'obsoletes',
  'recommends',
  'suggests',
  'supplements',
  'enhances',
]

function relationLine({ name, comparison, version }: RpmRelation): string {
  return `${name}\t${comparison ?? ''}\t${version ?? ''}\n`
}

/** As rpm words it; it knows no `interp` beside the moments of scripts when those stand. */
function phasesLine({ phases, ofRpm }: RpmRelation): string {
  const words = [
    ...(phases.includes('pre') ? ['pre'] : []),
    ...(phases.includes('post') ? ['post'] : []),
    ...(phases.includes('preun') ? ['preun'] : []),
    ...(phases.includes('postun') ? ['postun'] : []),
    ...(phases.includes('verify') ? ['verify'] : []),
    ...(phases.includes('interpreter') ? ['interp'] : []),
    ...(ofRpm ? ['rpmlib'] : []),
    ...(phases.includes('pretrans') ? ['pretrans'] : []),
    ...(phases.includes('posttrans') ? ['posttrans'] : []),
    ...(phases.includes('prereq') ? ['prereq'] : []),
  ]
  return words.join(',')
}

function fileLine(file: RpmListedFile): string {
  const types: Readonly<Record<string, number>> = {
    file: 0o100000,
    dir: 0o040000,
    symlink: 0o120000,
    chardev: 0o020000,
  }
  const flags = `${file.isDocumentation ? 'd' : ''}${file.isConfiguration ? 'c' : ''}${file.isKeptConfiguration ? 'n' : ''}${file.isGhost ? 'g' : ''}`
  return [
    file.path,
    ((types[file.type] ?? 0) + file.mode).toString(8),
    file.user,
    file.group,
    file.sizeBytes,
    file.mtimeSeconds,
    file.digest?.hex ?? '',
    file.linkTarget ?? '',
    file.capabilities ?? '',
    file.inode,
    flags,
  ].join('\t')
}

function triggerLine({ targets, interpreter, text }: Said['triggers'][number]): string {
  const conditions = targets.map(({ name, comparison, version }) =>
    comparison === undefined ? name : `${name} ${comparison} ${version ?? ''}`,
  )
  return `${targets[0]?.moment ?? ''}\t${conditions.join(', ')}\t${interpreter}\t${text}\n`
}

function onDisk(path: string): Buffer {
  return Buffer.from(asRaw(Buffer.from(chroot.path).toString('latin1') + path), 'latin1')
}

function assertLies({ path, type, mode, mtimeSeconds, linkTarget }: RpmListedFile): void {
  const there = lstatSync(onDisk(path))
  assert.equal(type === 'symlink', there.isSymbolicLink(), path)
  assert.equal(type === 'dir', there.isDirectory(), path)
  assert.equal(type === 'symlink', linkTarget !== undefined)
  if (type !== 'symlink') assert.equal(there.mode & 0o7777, mode, path)
  if (type === 'file') assert.equal(Math.floor(there.mtimeMs / 1000), mtimeSeconds, path)
}

test('a signature is good with its key, unknown without, and a package that was altered is bad', async () => {
  const shell = prefixedShell(chroot.prefix, 'the chroot')
  const [inside = ''] = await buildRpms(chroot, [{ name: 'checked', version: '1' }])
  assert.deepEqual(await checkRpmSignatures(shell, inside), { digests: 'good', signatures: [] })
  const user = 'checker@localhost'
  await chroot.run([
    'gpg',
    '--batch',
    '--quiet',
    '--passphrase',
    '',
    '--quick-gen-key',
    user,
    'rsa2048',
    'sign',
  ])
  const sign = ['rpmsign', '--addsign', '--define', `_gpg_name ${user}`, '--define', '__gpg /usr/bin/gpg']
  await chroot.run([...sign, inside])
  const verdicts = async () => {
    const { digests, signatures } = await checkRpmSignatures(shell, inside)
    return [digests, ...signatures.map(({ verdict }) => verdict)]
  }
  const unknown = await verdicts()
  assert.deepEqual([unknown[0], ...new Set(unknown.slice(1))], ['good', 'unknown'])
  await chroot.sh(`gpg --export -a ${user} >/root/key && rpmkeys --import /root/key`)
  const good = await verdicts()
  assert.deepEqual([good[0], ...new Set(good.slice(1))], ['good', 'good'])
  const path = join(chroot.path, inside)
  const bytes = readFileSync(path)
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 20) ^ 1, bytes.length - 20)
  writeFileSync(path, bytes)
  assert.equal((await verdicts())[0], 'bad')
})
