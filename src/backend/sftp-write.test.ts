// Servers whose rename replaces what is there, unlike OpenSSH's: the rest of them is a real one.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startSshd } from '../../test/sshd.ts'
import { openSftp, type Sftp } from '../wire/sftp.ts'
import { putFile } from './sftp-write.ts'

test('of many configs at once one stays, and all others are refused; nothing is left of them', async () => {
  await using sshd = await startSshd({ config: ['Subsystem sftp internal-sftp'] })
  const { user, host, port, sshConfigFile } = sshd
  const address = { user, host, port }
  await using opened = new AsyncDisposableStack()
  const sessions: Sftp[] = []
  for (let count = 0; count < 4; count++) {
    const signal = new AbortController().signal
    const sftp = opened.use(
      await openSftp({ address, options: { configFile: sshConfigFile }, label: 'it', signal }),
    )
    sessions.push({
      ...sftp,
      isUp: true,
      links: false,
      rename: async (from, to) => {
        await sftp.look(from)
        renameSync(from, to)
      },
    })
  }
  for (let round = 0; round < 5; round++) {
    const folder = mkdtempSync(join(tmpdir(), 'vml-sftp-'))
    opened.defer(() => rmSync(folder, { recursive: true }))
    mkdirSync(join(folder, 'tmp'))
    const puts = await Promise.allSettled(
      sessions.map(async (sftp, at) => {
        const data = Buffer.from(`config ${at}`)
        await putFile(sftp, { folder, target: join(folder, 'config'), data, signal: undefined })
      }),
    )
    const won = puts.flatMap(({ status }, at) => (status === 'fulfilled' ? [at] : []))
    assert.equal(won.length, 1)
    assert.equal(readFileSync(join(folder, 'config'), 'utf8'), `config ${won[0]}`)
    assert.deepEqual(readdirSync(join(folder, 'tmp')), [])
  }
})
