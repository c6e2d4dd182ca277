// Policies in config.toml: what VML writes there, and what the user wrote beside it.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../base/clock.ts'
import { isFailure } from '../base/failure.ts'
import { emptyPolicy, parsePolicy, type Policy } from '../model/policy.ts'
import { readConfig } from './config.ts'
import { findPolicy, removePolicy, writePolicy } from './policies.ts'

let home: string
let file: string
before(async () => {
  home = await mkdtemp(join(tmpdir(), 'vml-policies-'))
  await mkdir(join(home, '.config/vml'), { recursive: true })
  file = join(home, '.config/vml/config.toml')
})
after(async () => await rm(home, { recursive: true, force: true }))
beforeEach(async () => await rm(file, { force: true }))

const config = () => readConfig({}, { environment: { HOME: home }, workingFolder: home })
const write = async (policy: Policy) => await writePolicy(config(), systemClock, policy)

function policyOf(
  machine: string,
  project: string | undefined,
  settings: Record<string, string | string[]>,
): Policy {
  const parsed = parsePolicy(emptyPolicy(machine, project), new Map(Object.entries(settings)))
  assert.ok('policy' in parsed)
  return parsed.policy
}

test('a policy is written, replaced and taken away, and what the user wrote stays', async () => {
  const text =
    '# mine\nlogbook = "/l" # here\n\n[machines.lab]\naddress = "local:"\n\n# the rest\n[open]\nmemory_mib = 9\n'
  await writeFile(file, text)
  const policy = policyOf('lab', undefined, { every: '1h', keep_daily: '7', keep_tag: ['a,b'], budget: '8%' })
  await write(policy)
  assert.deepEqual(config().policies, [policy])
  assert.ok((await readFile(file, 'utf8')).startsWith(text.trimEnd()))
  const other = policyOf('lab', undefined, { every: '2h' })
  await write(other)
  assert.deepEqual(config().policies, [other])
  await removePolicy(config(), systemClock, other)
  assert.equal((await readFile(file, 'utf8')).trimEnd(), text.trimEnd())
})

test('policies of projects stand beside that of the machine, whatever the project is called', async () => {
  const names = ['thesis', 'my thesis', 'a.b', '"x"', 'ä', "it's", 'back\\slash', ']']
  for (const name of names) await write(policyOf('lab', name, { keep_last: '3' }))
  const own = policyOf('lab', undefined, { keep_last: '9' })
  await write(own)
  for (const name of names)
    assert.deepEqual(findPolicy(config(), { machine: 'lab', project: name })?.keep.count, { last: 3 }, name)
  assert.deepEqual(findPolicy(config(), { machine: 'lab' }), own)
  await removePolicy(config(), systemClock, own)
  assert.equal(findPolicy(config(), { machine: 'lab' }), undefined)
  for (const name of names) await removePolicy(config(), systemClock, { machine: 'lab', project: name })
  assert.equal((await readFile(file, 'utf8')).trim(), '')
  await assert.rejects(removePolicy(config(), systemClock, own), (error) => isFailure(error, 'not-found'))
})

test('any sequence of changes leaves exactly the policies that it made', async () => {
  const step = fc.record({
    machine: fc.constantFrom('lab', 'web.x'),
    project: fc.constantFrom(undefined, 'thesis', 'a b'),
    last: fc.option(fc.nat(9)),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      await writeFile(file, '# top\nproject = "p"\n')
      const model = new Map<string, Policy>()
      for (const { machine, project, last } of steps) {
        const key = JSON.stringify([machine, project])
        const policy = policyOf(machine, project, last === null ? {} : { keep_last: String(last) })
        if (last !== null) {
          await write(policy)
          model.set(key, policy)
        } else if (model.delete(key)) await removePolicy(config(), systemClock, policy)
      }
      const found = config().policies
      assert.equal(found.length, model.size)
      for (const policy of model.values()) assert.deepEqual(findPolicy(config(), policy), policy)
      assert.ok((await readFile(file, 'utf8')).startsWith('# top\nproject = "p"\n'))
    }),
    { numRuns: 25 },
  )
})

test('a setting that does not read as it must is refused by its name', async () => {
  for (const [line, key, words = ''] of [
    ['every = "1 fortnight"', 'policies.lab.every'],
    ['keep_daily = -1', 'policies.lab.keep_daily'],
    ['keep_daily = 1.5', 'policies.lab.keep_daily'],
    ['keep_dialy = 1', 'policies.lab.keep_dialy', 'did you mean "keep_daily"?'],
    ['other = 1', 'policies.lab.other', 'none is called so'],
    ['budget = "0%"', 'policies.lab.budget'],
    ['keep_tag = ["a,"]', 'policies.lab.keep_tag'],
    ['include = [1]', 'policies.lab.include'],
    ['projects = 3', 'policies.lab.projects'],
    ['projects.thesis = { every = "x" }', 'policies.lab.projects.thesis.every'],
  ]) {
    await writeFile(file, `[policies.lab]\n${line}\n`)
    assert.throws(
      config,
      (error) => isFailure(error, 'usage') && error.details['key'] === key && error.message.includes(words),
      line,
    )
  }
})

test('a policy in the folder of somebody else is not taken over', async () => {
  const folder = join(home, 'theirs')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, '.vml.toml'), '[policies.lab]\nkeep_last = 1\n')
  const found = readConfig({}, { environment: { HOME: home }, workingFolder: folder })
  assert.deepEqual(found.policies, [])
  assert.ok(found.warnings.some((warning) => warning.includes('policies')))
})
