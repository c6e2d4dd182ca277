import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { type Sshd, startSshd } from '../../test/sshd.ts'
import type { Backend } from './backend.ts'
import { openSftpBackend } from './sftp.ts'

let sshd: Sshd

before(async () => {
  sshd = await startSshd({ config: ['Subsystem sftp internal-sftp'] })
})
after(async () => {
  await sshd[Symbol.asyncDispose]()
})

function open(path: string): Backend {
  const { user, host, port, sshConfigFile } = sshd
  return openSftpBackend({ address: { user, host, port }, path }, { configFile: sshConfigFile })
}

testBackend(
  'sftp',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vml-sftp-'))
    const opened: Backend[] = []
    return {
      open: () => {
        const backend = open(join(folder, 'repository'))
        opened.push(backend)
        return backend
      },
      async [Symbol.asyncDispose]() {
        await Promise.all(opened.map(async (backend) => await backend[Symbol.asyncDispose]()))
        rmSync(folder, { recursive: true, force: true })
      },
    }
  },
  { reachable: false },
)
