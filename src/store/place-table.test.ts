import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { assert as hold, array, constantFrom, nat, property, record } from 'fast-check'
import { openPlaceTable, placeFlags } from './place-table.ts'

const ids = Array.from({ length: 12 }, (_, at) => createHash('sha256').update(`blob ${at}`).digest('hex'))

test('every place of every blob is found again, each pack once, whatever the order', () => {
  const places = array(record({ id: constantFrom(...ids), pack: nat(5), length: nat(9000) }), {
    maxLength: 60,
  })
  hold(
    property(places, (added) => {
      const table = openPlaceTable({ located: true })
      const known = new Map<string, Map<number, number>>()
      for (const [offset, { id, pack, length }] of added.entries()) {
        const packs = known.get(id) ?? new Map<number, number>()
        const isNew = !packs.has(pack)
        assert.equal(table.add(id, { pack, offset, length, plainLength: offset }), isNew)
        if (isNew) known.set(id, packs.set(pack, offset))
      }
      for (const id of ids) {
        const first = table.find(id)
        const expected = known.get(id)
        assert.equal(first >= 0, expected !== undefined)
        if (!expected) continue
        const found = table.placesOf(first)
        assert.deepEqual(
          found.map((place) => [table.pack(place), table.offset(place)]),
          [...expected],
        )
        assert.ok(found.every((place) => table.id(place) === id))
        for (const [pack, offset] of expected) assert.equal(table.offset(table.findIn(id, pack)), offset)
        assert.equal(table.findIn(id, 6), -1)
      }
    }),
  )
})

test('a table that has grown many times forgets nothing, and its marks stay where they were set', () => {
  const table = openPlaceTable({ located: false })
  const name = (at: number) => createHash('sha256').update(String(at)).digest('hex')
  const count = 40_000
  for (let at = 0; at < count; at++) {
    table.add(name(at), { pack: at % 7, offset: 0, length: at })
    if (at % 3 === 0) table.set(table.find(name(at)), placeFlags.used)
    // A second place of an early blob, long after the first.
    if (at >= 20_000) table.add(name(at - 20_000), { pack: 9, offset: 0, length: at })
  }
  for (let at = 0; at < count; at++) {
    const first = table.find(name(at))
    assert.equal(table.length(first), at)
    assert.equal(table.has(first, placeFlags.used), at % 3 === 0)
    assert.equal(table.placesOf(first).length, at < 20_000 ? 2 : 1)
  }
  assert.equal(table.find(name(count)), -1)
})

test('a blob that a forged index names in a thousand packs does not make each look-up slow', () => {
  const table = openPlaceTable({ located: false })
  const [id = ''] = ids
  for (let pack = 0; pack < 1000; pack++) table.add(id, { pack, offset: 0, length: 1 })
  assert.ok(table.size < 1000)
  assert.equal(table.placesOf(table.find(id)).length, table.size)
})
