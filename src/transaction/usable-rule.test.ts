import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import { usableRules } from './usable-rule.ts'

const path = (text: string) => parseRawPath(rawFromString(text)) ?? rootPath

test('a rule stands for a content only where all that makes it is there, or comes back with it', () => {
  using root = openRoot()
  const modules = changed('/usr/lib/modules/6.1/modules.dep')
  root.write('/usr/lib/modules/6.1/kernel/a.ko')
  assert.equal(usableRules(root, [])(modules), undefined)
  const gone = { path: path('/usr/sbin/depmod'), before: file('depmod') }
  assert.equal(usableRules(root, [gone])(modules), 'modules')
  root.write('/usr/sbin/depmod')
  assert.equal(usableRules(root, [])(modules), 'modules')
  // It goes with the undo, by whatever name it is asked for.
  const came = { path: path('/usr/sbin/depmod'), after: file('depmod') }
  symlinkSync('usr/sbin', join(String(root.root), 'sbin'))
  assert.equal(usableRules(root, [came])(modules), undefined)
})

test('a backup of an initrd is nobody else’s to make, and the initrd of a kernel is', () => {
  using root = openRoot()
  for (const each of [
    '/usr/sbin/update-initramfs',
    '/usr/lib/modules/6.1.0/modules.dep',
    '/boot/vmlinuz-6.1.0',
  ])
    root.write(each)
  const rules = usableRules(root, [])
  assert.equal(rules(changed('/boot/initrd.img-6.1.0')), 'initrd')
  for (const name of ['6.1.0.bak', 'rescue', '6.1.0.old', '5.10.0'])
    assert.equal(rules(changed(`/boot/initrd.img-${name}`)), undefined, name)
})

test('what nobody has to make anew needs no program', () => {
  using root = openRoot()
  root.write('/usr/lib/python3/a.py')
  const rules = usableRules(root, [])
  assert.equal(rules(changed('/var/log/lastlog')), 'logs')
  assert.equal(rules(changed('/usr/lib/python3/__pycache__/a.cpython-311.pyc')), 'pycache')
  assert.equal(rules(changed('/etc/hosts')), undefined)
})

test('a log that grew tells all that it told before; one that went, or says something else, does not', () => {
  using root = openRoot()
  const rules = usableRules(root, [])
  const log = (after: string | undefined) => {
    if (after !== undefined) root.write('/var/log/a.log', after)
    const { before } = changed('/var/log/a.log', 'one\n')
    return rules({
      path: path('/var/log/a.log'),
      ...(before ? { before } : {}),
      ...(after === undefined ? {} : { after: file(after) }),
    })
  }
  assert.equal(log('one\ntwo\n'), 'logs')
  assert.equal(log('two\none\n'), undefined)
  assert.equal(log(''), undefined)
  assert.equal(log(undefined), undefined)
  const { path: passwd, before } = changed('/etc/passwd-')
  assert.ok(before)
  assert.equal(rules({ path: passwd, before }), undefined)
})

function file(content: string): Fingerprint {
  const sha256 = createHash('sha256').update(content).digest('hex')
  return { type: 'file', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, size: content.length, sha256 }
}

function changed(at: string, before = 'before'): PathChange {
  return { path: path(at), before: file(before), after: file('after, longer') }
}

function openRoot() {
  const folder = mkdtempSync(join(tmpdir(), 'vml-rule-'))
  return {
    root: path(folder),
    write(at: string, content = '') {
      mkdirSync(dirname(join(folder, at)), { recursive: true })
      writeFileSync(join(folder, at), content)
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  }
}
