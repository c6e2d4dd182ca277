import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { isMisfit } from '../model/field-check.ts'
import { changesForm, dataOf, parseStateHook } from '../model/state-hook.ts'
import { stateHookTable } from './state-hook-table.ts'

const hooks = Object.entries(stateHookTable).map(([name, fields]) => {
  const hook = parseStateHook(name, fields)
  assert.ok(hook !== undefined && !isMisfit(hook), name)
  return hook
})

test('every hook that VML brings is one, and a shell can read its commands', () => {
  for (const { export: first, import: second } of hooks)
    for (const line of [first, second]) execFileSync('/bin/sh', ['-n', '-c', line])
})

test('a hook of VML is due where its service changes the form of its data, and only there', () => {
  const due = (name: string, from: string, to: string) =>
    hooks.filter((hook) => dataOf(hook, name) && changesForm(hook, from, to)).map((hook) => hook.name)
  assert.deepEqual(due('mariadb-server', '1:11.8.2-1', '1:10.11.14-0+deb12u2'), ['mariadb'])
  assert.deepEqual(due('mariadb-server', '1:10.11.14-0+deb12u2', '1:10.11.6-0+deb12u1'), [])
  assert.deepEqual(due('mariadb-server-core', '1:11.8.2-1', '1:10.11.14-0+deb12u2'), [])
  assert.deepEqual(due('postgresql-15', '15.20-0+deb12u1', '15.5-0+deb12u1'), [])
  assert.deepEqual(due('postgresql-18', '18~rc1-1', '18~beta2-1'), ['postgresql'])
  assert.deepEqual(due('slapd', '2.6.10+dfsg-1', '2.5.13+dfsg-5'), ['slapd'])
  assert.deepEqual(due('slapd', '2.5.13+dfsg-5', '2.5.12+dfsg-2'), [])
  assert.deepEqual(due('postgresql-18', '18.0-1', '18~rc1-1'), ['postgresql'])
})
