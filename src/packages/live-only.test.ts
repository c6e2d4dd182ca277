import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { livePatterns, liveRuleOf, liveRules, parseLiveRules } from './live-only.ts'

test('a boot loader is done on the system itself, a kernel and its modules in a stage', () => {
  for (const name of [
    'grub-pc',
    'grub-efi-amd64',
    'grub-efi-arm64',
    'snapd',
    'selinux-policy-default',
    'usrmerge',
  ])
    assert.ok(liveRuleOf(name, liveRules), name)
  for (const name of [
    'grub-common',
    'linux-image-amd64',
    'dkms',
    'libc6',
    'systemd',
    'docker',
    'xgrub-pc',
    'nginx',
  ])
    assert.equal(liveRuleOf(name, liveRules), undefined, name)
})

test('the list of the machine adds packages with a reason of its own, and takes some out', () => {
  const own = parseLiveRules('# mine\n\n  my.driver* talks to the card\n!grub-pc\nbare\n')
  const rules = [...own, ...liveRules]
  assert.equal(liveRuleOf('my.driver-2', rules)?.reason, 'talks to the card')
  assert.equal(liveRuleOf('mydriver', rules), undefined)
  assert.equal(liveRuleOf('grub-pc', rules), undefined)
  assert.match(liveRuleOf('bare', rules)?.reason ?? '', /live-packages/)
  assert.ok(liveRuleOf('grub-efi-amd64', rules))
})

test('a line that is no name is told with its number', () => {
  assert.throws(
    () => parseLiveRules('ok\n$(reboot) x\n'),
    (error: unknown) => isFailure(error, 'usage') && /line 2 is "\$\(reboot\) x"/.test(error.message),
  )
  assert.throws(
    () => parseLiveRules('a\n'.repeat(200_000)),
    (error: unknown) => isFailure(error, 'usage'),
  )
})

test('grep finds with its patterns each line of a plan that a rule is for', () => {
  const own = parseLiveRules('my.driver* talks to the card\ng++\n!snapd\n')
  const patterns = livePatterns([...own, ...liveRules])
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => new RegExp(line))
  const found = (name: string) => patterns.some((pattern) => pattern.test(`${name} - - none < 1 all none /x`))
  for (const name of ['grub-pc', 'grub-efi-amd64', 'my.driver-2', 'g++'])
    assert.equal(found(name), true, name)
  for (const name of ['grub-common', 'mydriver', 'xgrub-pc', 'grub-pc-bin', 'g'])
    assert.equal(found(name), false, name)
})
