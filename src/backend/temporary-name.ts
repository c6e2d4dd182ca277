// Names in the `tmp/` of a repository, under which a file is written until it is whole.
import { randomBytes } from 'node:crypto'

export function newTemporaryName(): string {
  return `vml-put-${randomBytes(8).toString('hex')}`
}

/** What a put that was killed may leave there; a later one sweeps it. */
export function isTemporaryName(name: string): boolean {
  return /^vml-put-[0-9a-f]{16}$/.test(name)
}

/** Held by whoever looks whether a config is there and then renames one. Swept as the others are, should a kill leave it. */
export const claimName = `vml-put-${Buffer.from('config').toString('hex').padEnd(16, '0')}`
