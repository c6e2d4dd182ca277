import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { usableRules } from './usable-rule.ts'

const path = (text: string) => parseRawPath(rawFromString(text)) ?? rootPath
const modules = path('/usr/lib/modules/6.1/modules.dep')
const depmod = path('/usr/sbin/depmod')

test('a rule stands for a content only where its program is there, or comes back with it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-rule-'))
  try {
    const place = { root: path(folder) }
    assert.equal(usableRules(place, [])(modules), undefined)
    const gone = { path: depmod, before: { type: 'file', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n } } as const
    assert.equal(usableRules(place, [gone])(modules), 'modules')
    mkdirSync(join(folder, 'usr/sbin'), { recursive: true })
    writeFileSync(join(folder, 'usr/sbin/depmod'), '')
    assert.equal(usableRules(place, [])(modules), 'modules')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what nobody has to make anew needs no program', () => {
  const rules = usableRules({ root: path('/nowhere') }, [])
  assert.equal(rules(path('/var/log/dpkg.log')), 'logs')
  assert.equal(rules(path('/usr/lib/python3/__pycache__/a.pyc')), 'pycache')
  assert.equal(rules(path('/etc/hosts')), undefined)
})
