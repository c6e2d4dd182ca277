import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearestIn, nearestOf, outermost, type RawPath } from './raw-path.ts'

const paths = (...texts: string[]) => texts as RawPath[]
const path = (text: string) => text as RawPath

test('the nearest of some paths is the path itself or the closest folder above it, the root included', () => {
  const among = new Set(paths('/a', '/a/b/c', '/ab'))
  assert.equal(nearestIn(path('/a/b/c'), among), '/a/b/c')
  assert.equal(nearestIn(path('/a/b/cd'), among), '/a')
  assert.equal(nearestIn(path('/abc'), among), undefined)
  assert.equal(nearestIn(path('/x/y'), new Set(paths('/'))), '/')
  assert.equal(nearestIn(path('/'), new Set(paths('/'))), '/')
  assert.equal(nearestIn(path('/'), among), undefined)
})

test('what is said of the nearest is told, also where that is nothing but an empty text', () => {
  const said = new Map([
    [path('/'), 'root'],
    [path('/a'), ''],
  ])
  assert.equal(nearestOf(path('/a/b'), said), '')
  assert.equal(nearestOf(path('/b'), said), 'root')
  assert.equal(nearestOf(path('/b'), new Map()), undefined)
})

test('of paths the outermost are left, each once', () => {
  assert.deepEqual(outermost(paths('/a/b', '/a', '/ab', '/a', '/c/d/e')), ['/a', '/ab', '/c/d/e'])
  assert.deepEqual(outermost(paths('/a', '/')), ['/'])
})
