import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { RawPath } from '../model/raw-path.ts'
import { scanCommand, scanFileName, scanText, scanVariable, scrubHistory } from './secret-scan.ts'

test('keys are found by their place, public halves are not', () => {
  for (const path of [
    '/home/lab/.ssh/id_ed25519',
    '/home/lab/.aws/credentials',
    '/root/.netrc',
    '/home/lab/.globus/userkey.pem',
  ]) {
    assert.notEqual(scanFileName(path as RawPath), undefined, path)
  }
  for (const path of [
    '/home/lab/.ssh/id_ed25519.pub',
    '/home/lab/.ssh/known_hosts',
    '/home/lab/.aws/config',
    '/home/lab/fit.C',
  ]) {
    assert.equal(scanFileName(path as RawPath), undefined, path)
  }
})

test('keys and tokens are found by their form, with their line', () => {
  const key = ['text', '-----BEGIN OPENSSH PRIVATE KEY-----', 'b3BlbnNzaC1r'].join('\n')
  assert.deepEqual(scanText(key), { what: 'private key', line: 2 })
  assert.notEqual(scanText(['id = AKIA', 'IOSFODNN7EXAMPLE'].join('')), undefined)
  assert.notEqual(scanText('url = https://me:hunter22@example.org/x'), undefined)
  assert.equal(scanText('-----BEGIN PUBLIC KEY-----'), undefined)
  assert.equal(scanText('see https://example.org:8080/a@b'), undefined)
})

test('variables are judged by name and value; a path to a secret is none', () => {
  assert.notEqual(scanVariable('DB_PASSWORD', 'x'), undefined)
  assert.notEqual(scanVariable('GITHUB_TOKEN', 'x'), undefined)
  assert.equal(scanVariable('DB_PASSWORD', ''), undefined)
  assert.equal(scanVariable('RESTIC_PASSWORD_FILE', '/x'), undefined)
  assert.equal(scanVariable('PATH', '/usr/bin'), undefined)
})

test('a history loses the lines with a secret and keeps every other byte', () => {
  const history = Buffer.from(
    'ls\nmysql --password=hunter2 db\nexport API_KEY=abcdef\n\xff raw\ncurl -u me:pw https://x\n',
    'latin1',
  )
  const { content, removed } = scrubHistory(history)
  assert.equal(content.toString('latin1'), 'ls\n\xff raw\n')
  assert.deepEqual(
    removed.map(({ line }) => line),
    [2, 3, 5],
  )
  assert.equal(scanCommand('export API_KEY=$(pass show x)'), undefined)
  assert.equal(scanCommand('git commit -m "token bucket"'), undefined)
})

test('no text takes the scan long or throws', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 5000 }),
      (text) => void [scanText(text), scanCommand(text), scanVariable(text, text)],
    ),
  )
  scanText('a'.repeat(1_000_000))
  scanCommand('--password '.repeat(50_000))
})
