import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { aptPlanBytesMax, parseAptPlan } from './apt-plan.ts'

const plan = (...actions: readonly string[]) =>
  Buffer.from(
    ['VERSION 3', 'APT::Architecture=amd64', 'Dir=/', 'A%3db::=%0a%25x y', '', ...actions, ''].join('\n'),
    'latin1',
  )

test('what apt tells is read: new, upgraded, downgraded, configured and removed packages', () => {
  const { configuration, actions } = parseAptPlan(
    plan(
      'libc6 2.36-9+deb12u9 amd64 same < 2.36-9+deb12u10 amd64 same /var/cache/apt/archives/libc6 x.deb',
      'nginx - - none < 1.22.1-9 amd64 none **CONFIGURE**',
      'vim 2:9.0-1 amd64 none > 2:8.2-1 amd64 none /a//./b.deb',
      'old 1 all foreign > - - none **REMOVE**',
    ),
  )
  assert.deepEqual(configuration.at(-1), { name: 'A=b::', value: '\n%x y' })
  assert.deepEqual(actions[0], {
    package: 'libc6',
    before: { version: '2.36-9+deb12u9', architecture: 'amd64', multiArch: 'same' },
    after: { version: '2.36-9+deb12u10', architecture: 'amd64', multiArch: 'same' },
    change: 'up',
    step: { kind: 'unpack', file: '/var/cache/apt/archives/libc6 x.deb' },
  })
  assert.deepEqual(
    actions
      .slice(1)
      .map(({ package: name, before, after, change, step }) => [
        name,
        before?.version,
        after?.version,
        change,
        step.kind,
      ]),
    [
      ['nginx', undefined, '1.22.1-9', 'up', 'configure'],
      ['vim', '2:9.0-1', '2:8.2-1', 'down', 'unpack'],
      ['old', '1', undefined, 'down', 'remove'],
    ],
  )
})

test('what was cut off, of another version or too large is refused', () => {
  const whole = plan('nginx - - none < 1.22.1-9 amd64 none **CONFIGURE**')
  const cases = [
    whole.subarray(0, -5),
    whole.subarray(0, 30),
    Buffer.from('VERSION 2\n\n'),
    Buffer.from('VERSION 3\nA=b\n'),
    Buffer.alloc(aptPlanBytesMax + 1, '\n'),
    plan('nginx - - none < - - none **REMOVE**'),
    plan('nginx - - none < 1 amd64 none **ERROR**'),
    plan('nginx - - none < 1 amd64 none /../etc'),
    plan(`${'n'.repeat(300)} - - none < 1 amd64 none **CONFIGURE**`),
  ]
  for (const bytes of cases)
    assert.throws(
      () => parseAptPlan(bytes),
      (error: unknown) => isFailure(error, 'integrity.format'),
    )
})

test('settings of any bytes come back as apt had them', () => {
  // strutl.cc, QuoteString.
  const quote = (bytes: Uint8Array) =>
    [...bytes]
      .map((byte) =>
        byte <= 0x20 || byte >= 0x7f || '=%"'.includes(String.fromCharCode(byte))
          ? `%${byte.toString(16).padStart(2, '0')}`
          : String.fromCharCode(byte),
      )
      .join('')
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 20 }),
      fc.uint8Array({ maxLength: 50 }),
      (name, value) => {
        const text = `VERSION 3\n${quote(name)}=${quote(value)}\n\n`
        const [setting] = parseAptPlan(Buffer.from(text, 'latin1')).configuration
        assert.equal(setting?.name, Buffer.from(name).toString('latin1'))
        assert.equal(setting?.value, Buffer.from(value).toString('latin1'))
      },
    ),
  )
})
