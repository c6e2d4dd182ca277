// Random chains of dnf and rpm: whatever is undone, in whatever order, the machine is one on which it was never done.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fileOf, openRpmMachine, type RpmMachine } from '../rpm-machine.ts'
import type { RpmSpec } from '../rpm-packages.ts'

const chains = 3
const letters = ['a', 'b', 'c', 'd', 'e', 'f'] as const
type Letter = (typeof letters)[number]

/** Its script changes its line of a file that all of them share. */
const packageOf = (name: Letter, version: string): RpmSpec => ({
  name,
  version,
  install: `mkdir -p $R/opt/${name} $R/etc/shared.d; echo ${version} >$R/opt/${name}/version; echo ${name}=${version} >$R/etc/shared.d/${name}.conf`,
  sections: `%post\nsed -i 's/^${name}=.*/${name}=${version}/' /etc/shared`,
  files: [
    `%dir /opt/${name}`,
    `/opt/${name}/version`,
    '%dir /etc/shared.d',
    `%config /etc/shared.d/${name}.conf`,
  ],
})
const specs = letters.flatMap((name) => ['1', '2'].map((version) => packageOf(name, version)))

interface Step {
  readonly name: Letter
  /** The first three are there in their first version. */
  readonly what: 'upgrade' | 'remove' | 'install'
  readonly by: 'dnf' | 'rpm' | 'run'
}

const step = (name: Letter, at: number): fc.Arbitrary<Step> =>
  fc.record({
    name: fc.constant(name),
    what: at < 3 ? fc.constantFrom('upgrade' as const, 'remove' as const) : fc.constant('install' as const),
    by: fc.constantFrom('dnf' as const, 'rpm' as const, 'run' as const),
  })
const chain = fc
  .tuple(...letters.map(step))
  .chain((all) => fc.shuffledSubarray(all, { minLength: 4, maxLength: 5 }))
  .chain((steps) =>
    fc.record({
      steps: fc.constant(steps),
      undone: fc.shuffledSubarray([...steps.keys()], { minLength: 2, maxLength: steps.length }),
    }),
  )

async function prepare(): Promise<RpmMachine> {
  const machine = await openRpmMachine(specs, { dpkg: true })
  await machine.sh(`for name in ${letters.join(' ')}; do echo $name=0; echo; done >/etc/shared`)
  await machine.run([
    'rpm',
    '-i',
    '--quiet',
    ...letters.slice(0, 3).map((name) => fileOf(packageOf(name, '1'))),
  ])
  await machine.vml(['tx', 'enable'])
  return machine
}

async function perform(machine: RpmMachine, { name, what, by }: Step): Promise<void> {
  const file = fileOf(packageOf(name, what === 'upgrade' ? '2' : '1'))
  const words = what === 'remove' ? ['-e', name] : [what === 'upgrade' ? '-U' : '-i', '--quiet', file]
  if (by === 'dnf') await machine.run(['dnf', '-y', '-q', what, what === 'install' ? `${name}-1` : name])
  else if (by === 'rpm') await machine.run(['rpm', ...words])
  else await machine.vml(['tx', 'run', '--', 'rpm', ...words])
}

const numbers = async (machine: RpmMachine): Promise<number[]> => {
  // What rpm alone did is recorded a moment after it has ended.
  await machine.vml(['tx', 'recover'])
  const { stdout } = await machine.vml(['tx', 'list', '--json'])
  const { transactions }: { transactions: readonly { number: number }[] } = JSON.parse(stdout)
  return transactions.map(({ number }) => number).toReversed()
}
const packages = async (machine: RpmMachine) =>
  (await machine.sh("rpm -qa --qf '%{NEVRA}\\n' | sort; rpm -Va")).stdout

test(`whatever is undone of a chain, in whatever order, was never done (${chains} chains)`, async (context) => {
  let undone = 0
  await fc.assert(
    fc.asyncProperty(chain, async (one) => {
      await using machine = await prepare()
      for (const each of one.steps) await perform(machine, each)
      const recorded = await numbers(machine)
      assert.equal(recorded.length, one.steps.length)
      for (const at of one.undone) {
        await machine.vml(['tx', 'undo', String(recorded[at])])
        undone++
      }
      await using truth = await prepare()
      for (const [at, each] of one.steps.entries()) if (!one.undone.includes(at)) await perform(truth, each)
      await truth.vml(['tx', 'recover'])
      assert.equal(await packages(machine), await packages(truth))
      // Both have built their packages and taken stock by themselves.
      const [left, right] = [machine.tree(), truth.tree()]
      assert.equal(machine.differenceOf(left, right), '')
    }),
    { numRuns: chains, seed: 20261121, endOnFailure: true },
  )
  context.diagnostic(`${undone} undone in ${chains} chains`)
})
