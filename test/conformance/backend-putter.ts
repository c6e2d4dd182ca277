// Puts files into a backend: as a worker the same ones as its siblings, as a process large ones until it is killed.
import { createHash } from 'node:crypto'
import { isMainThread, workerData } from 'node:worker_threads'
import { type DriverOptions, openBackend } from '../../src/backend/all.ts'

interface Task {
  readonly address: string
  readonly driver: DriverOptions | undefined
}

if (isMainThread) {
  const [address = '', driver = '{}'] = process.argv.slice(2)
  await putUntilKilled({ address, driver: JSON.parse(driver) as DriverOptions })
} else await putTogether(workerData as Task & { rounds: number })

async function putTogether({ address, driver, rounds }: Task & { rounds: number }): Promise<void> {
  await using backend = await openBackend(address, driver)
  for (let round = 0; round < rounds; round++) {
    const data = Buffer.alloc(100_000, round)
    await backend.put({ kind: 'pack', name: createHash('sha256').update(data).digest('hex') }, data)
  }
}

async function putUntilKilled({ address, driver }: Task): Promise<void> {
  const backend = await openBackend(address, driver)
  for (let round = 0; ; round++) {
    const data = Buffer.alloc(4_000_000, `${process.pid}-${round}`)
    const name = createHash('sha256').update(data).digest('hex')
    process.stdout.write('.')
    await backend.put({ kind: 'pack', name }, data)
  }
}
