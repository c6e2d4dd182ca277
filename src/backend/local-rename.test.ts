// A file system without hard links: its only difference is that names come by renames, which is what is called here.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isFailure, VmlError } from '../base/failure.ts'
import { renameNew } from './local-rename.ts'
import { claimName } from './temporary-name.ts'

function makePlace(): Disposable & {
  readonly folder: string
  put(name: string, content: string): Promise<void>
} {
  const folder = mkdtempSync(join(tmpdir(), 'vml-rename-'))
  mkdirSync(join(folder, 'tmp'))
  let count = 0
  return {
    folder,
    async put(name, content) {
      const temporary = join(folder, 'tmp', `vml-put-${String(count++).padStart(16, '0')}`)
      writeFileSync(temporary, content)
      const target = join(folder, name)
      try {
        await renameNew(temporary, target, async () => {
          if (readFileSync(target, 'utf8') !== content) throw new VmlError('exists', 'Cannot write it')
        })
      } finally {
        rmSync(temporary, { force: true })
      }
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

test('of many configs at once one stays, and all others are refused; nothing is left of them', async () => {
  for (let round = 0; round < 10; round++) {
    using place = makePlace()
    const puts = await Promise.allSettled(
      Array.from({ length: 8 }, async (_, at) => await place.put('config', `config ${at}`)),
    )
    const won = puts.flatMap(({ status }, at) => (status === 'fulfilled' ? [at] : []))
    assert.equal(won.length, 1)
    assert.equal(readFileSync(join(place.folder, 'config'), 'utf8'), `config ${won[0]}`)
    assert.deepEqual(readdirSync(join(place.folder, 'tmp')), [])
    await place.put('config', `config ${won[0]}`)
  }
})

test('a config that a killed program was at is not written over, and is told with what to do', async () => {
  using place = makePlace()
  const claim = join(place.folder, 'tmp', claimName)
  writeFileSync(claim, '')
  // What sweeps temporary names knows them by this.
  assert.match(claimName, /^vml-put-[0-9a-f]{16}$/)
  await assert.rejects(
    place.put('config', 'mine'),
    (error: Error) => isFailure(error, 'exists') && `${error.message}${error.hint}`.includes(claim),
  )
  assert.ok(!existsSync(join(place.folder, 'config')))
  rmSync(claim)
  await place.put('config', 'mine')
  // Everything else goes by its content, and waits for nobody.
  writeFileSync(claim, '')
  await place.put('snapshot', 'one')
})
