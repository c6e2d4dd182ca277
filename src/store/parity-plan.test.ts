import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type PackId, parseId } from '../model/ids.ts'
import type { FoundGroup } from './parity.ts'
import { type ParityPlan, planParity, type ParityQuestion, rowsFor, sizeClass } from './parity-plan.ts'

const mib = 1024 * 1024

function idOf(text: string): PackId {
  return parseId<PackId>(createHash('sha256').update(text).digest('hex')) ?? assert.fail()
}

function packs(sizes: readonly number[], name = 'p'): Map<PackId, number> {
  return new Map(sizes.map((bytes, at) => [idOf(`${name}${at}`), bytes]))
}

function groupOf(members: FoundGroup['members'], rows: number): FoundGroup {
  const rowBytes = Math.max(...members.map(({ bytes }) => bytes))
  const id = idOf(`${rows} ${members.map(({ pack }) => pack).join()}`)
  const file = { name: id, size: rowBytes, whole: true }
  return { id, members, rowBytes, files: Array.from({ length: rows }, () => file) }
}

/** What is there when a plan was carried out. */
function after({ groups, present }: ParityQuestion, { extend, make, remove }: ParityPlan): FoundGroup[] {
  const member = (pack: PackId) => ({ pack, bytes: present.get(pack) ?? assert.fail() })
  const gone = new Set([...remove, ...extend.map(({ found }) => found)])
  return [
    ...groups.filter((group) => !gone.has(group)),
    ...extend.map(({ found, packs: added }) =>
      groupOf([...found.members, ...added.map(member)], found.files.length),
    ),
    ...make.map(({ rows, packs: added }) => groupOf(added.map(member), rows)),
  ]
}

function isEmpty({ extend, make, remove }: ParityPlan): boolean {
  return extend.length + make.length + remove.length === 0
}

const everything = () => true
const share = fc.constantFrom(0.01, 0.02, 0.05, 0.1, 0.3, 1)
const sizes = fc.array(fc.integer({ min: 100, max: 20 * mib }), { maxLength: 150, size: 'max' })

test('every pack gets into one group of its size, whose rows are the share as soon as it is closed', () => {
  fc.assert(
    fc.property(sizes, share, (list, wanted) => {
      const question = { share: wanted, present: packs(list), isNamed: everything, groups: [] }
      const plan = planParity(question)
      const groups = after(question, plan)
      const placed = groups.flatMap(({ members }) => members.map(({ pack }) => pack))
      assert.deepEqual(placed.toSorted(), [...question.present.keys()].toSorted())
      const open = new Map<number, number>()
      for (const { members, rowBytes, files } of groups) {
        const [classBytes = 0, ...others] = new Set(members.map(({ bytes }) => sizeClass(bytes)))
        assert.deepEqual(others, [])
        assert.equal(files.length, rowsFor(wanted, classBytes))
        const bytes = members.reduce((sum, member) => sum + member.bytes, 0)
        const recovery = files.length * rowBytes
        if (recovery > wanted * bytes && members.length < 200)
          open.set(classBytes, (open.get(classBytes) ?? 0) + 1)
        // Not less than was asked for either, but for the last pack that closed it.
        assert.ok(recovery >= wanted * (bytes - rowBytes))
      }
      for (const count of open.values()) assert.equal(count, 1)
      assert.ok(isEmpty(planParity({ ...question, groups })))
    }),
  )
})

test('packs that come are added to what is open, and then there is nothing to do', () => {
  fc.assert(
    fc.property(fc.array(sizes, { maxLength: 5 }), share, (steps, wanted) => {
      let groups: FoundGroup[] = []
      const present = new Map<PackId, number>()
      for (const [step, list] of steps.entries()) {
        for (const [pack, bytes] of packs(list, `${step}-`)) present.set(pack, bytes)
        const question = { share: wanted, present, isNamed: everything, groups }
        const plan = planParity(question)
        assert.deepEqual(plan.remove, [])
        groups = after(question, plan)
        assert.ok(isEmpty(planParity({ ...question, groups })))
      }
    }),
  )
})

test('whatever goes, is lost, or is asked for: groups of lost packs stay, no other pack is left without a group', () => {
  fc.assert(
    fc.property(
      sizes,
      share,
      share,
      fc.array(fc.constantFrom('stays', 'stays', 'stays', 'pruned', 'lost', 'cut'), {
        minLength: 150,
        maxLength: 150,
      }),
      fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
      (list, before, now, fates, rowsLost) => {
        const all = packs(list)
        const first = { share: before, present: all, isNamed: everything, groups: [] }
        const groups = after(first, planParity(first)).map((group, at) =>
          rowsLost[at] ? { ...group, files: group.files.with(0, undefined) } : group,
        )
        const fateOf = new Map([...all.keys()].map((pack, at) => [pack, fates[at] ?? 'stays']))
        const present = new Map<PackId, number>()
        for (const [pack, bytes] of all) {
          if (fateOf.get(pack) === 'stays') present.set(pack, bytes)
          if (fateOf.get(pack) === 'cut') present.set(pack, bytes - 1)
        }
        const isNamed = (pack: PackId) => fateOf.get(pack) !== 'pruned'
        const question = { share: now, present, isNamed, groups }
        const plan = planParity(question)
        const left = after(question, plan)
        for (const group of groups) {
          const wounded = group.members.some(({ pack }) => ['lost', 'cut'].includes(fateOf.get(pack) ?? ''))
          if (wounded) assert.ok(left.includes(group))
        }
        const covered = new Set(left.flatMap(({ members }) => members.map(({ pack }) => pack)))
        for (const pack of present.keys()) assert.ok(covered.has(pack))
        assert.ok(isEmpty(planParity({ ...question, groups: left })))
      },
    ),
  )
})

test('of two groups of the same packs one goes', () => {
  const present = packs([mib, mib, mib])
  const members = Array.from(present, ([pack, bytes]) => ({ pack, bytes }))
  const groups = [groupOf(members, 2), groupOf(members.slice(0, 2), 2)]
  const plan = planParity({ share: 0.05, present, isNamed: everything, groups })
  assert.deepEqual([plan.extend, plan.make, plan.remove], [[], [], [groups[1]]])
})

test('rows fit into memory, and there is one at least', () => {
  for (const wanted of [0.001, 0.05, 1])
    for (const bytes of [1, mib, 16 * mib, 128 * mib, 512 * mib]) {
      const rows = rowsFor(wanted, sizeClass(bytes))
      assert.ok(rows === 1 || rows * bytes <= 96 * mib)
    }
  assert.equal(rowsFor(0.05, 16 * mib), 2)
})
