// A whole upgrade to the newest of a distribution, from its archive as a point release left it, taken back after later work.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { renderResult, undoRealPackages } from '../transaction-packages.ts'

test('dist-upgrade is taken back after later work, and the machine is as if it had never run', async (context) => {
  const result = await undoRealPackages({
    make: async (machine) => await machine.apt(['dist-upgrade']),
    later: async (machine) => await machine.apt(['install', 'tree']),
  })
  context.diagnostic(renderResult('dist-upgrade', result))
  assert.equal(result.difference, '')
})
