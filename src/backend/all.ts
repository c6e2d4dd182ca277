// The table of places where a repository can lie; opened by app/ alone.
import { VmlError } from '../base/failure.ts'
import type { Backend } from './backend.ts'
import { openLocal } from './local.ts'

/** By the word before the colon, as restic names them. */
const drivers: Readonly<Record<string, (address: string) => Backend>> = {
  local: (address) => openLocal(address),
}

/** `local:DIR`, or a folder as it is. */
export function openBackend(address: string): Backend {
  const match = /^([a-z][a-z0-9]+):(.*)$/s.exec(address)
  const [, scheme, rest] = match ?? []
  if (scheme === undefined || rest === undefined) return openLocal(address)
  const driver = drivers[scheme]
  if (driver) return driver(rest)
  throw new VmlError(
    'unsupported',
    `Cannot open "${scheme}:": this version knows ${Object.keys(drivers).join(', ')}`,
    {
      hint: `Use a folder; for one whose name holds a colon, write "./${scheme}:…" or "local:…"`,
    },
  )
}
