// The reader and writer of TOML, from the one file in which the library brings them beside nine: every command waits for it.
import { createRequire } from 'node:module'
import type * as Toml from 'smol-toml'

export const { parse, stringify } = createRequire(import.meta.url)('smol-toml') as typeof Toml
