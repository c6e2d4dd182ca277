// Changes of the user's config.toml by VML itself: machines and the default logbook. What the user wrote, comments
// included, stays as it is.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parse, stringify } from './toml.ts'
import type { Clock } from '../base/clock.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import { formatImageReference, formatMachineAddress, type Machine } from '../model/machine.ts'
import { userConfigFile, type Config } from './config.ts'
import { withFileLock } from './file-lock.ts'
import { parseSettings } from './settings.ts'

/** Fails with `exists` when a machine of that name is there. */
export async function addMachine(config: Config, clock: Clock, machine: Machine): Promise<void> {
  await changeConfig(config, clock, (text, table) => {
    const machines = tableIn(table, 'machines')
    if (Object.hasOwn(machines, machine.name))
      throw new VmlError('exists', `Cannot add machine "${machine.name}": there is one of that name`, {
        details: { machine: machine.name },
        hint: `Look at it: vml machine list. Take it out first: vml machine rm ${machine.name}`,
      })
    const fields = {
      address: formatMachineAddress(machine.address),
      ...(machine.image ? { image: formatImageReference(machine.image) } : {}),
    }
    const above = text.trimEnd() === '' ? '' : `${text.trimEnd()}\n\n`
    return {
      text: `${above}[${tableName(['machines', machine.name])}]\n${stringify(fields).trimEnd()}\n`,
      table: { ...table, machines: { ...machines, [machine.name]: fields } },
    }
  })
}

/** Fails with `not-found` when no machine has that name. */
export async function removeMachine(config: Config, clock: Clock, name: string): Promise<void> {
  await changeConfig(config, clock, (text, table) => {
    const { [name]: removed, ...rest } = tableIn(table, 'machines')
    if (removed === undefined)
      throw new VmlError('not-found', `Cannot find machine "${name}" in ${userConfigFile(config)}`, {
        details: { machine: name },
        hint: 'See the names: vml machine list',
      })
    const { machines: _, ...others } = table
    return {
      text: withoutTable(text, ['machines', name]),
      table: Object.keys(rest).length === 0 ? others : { ...table, machines: rest },
    }
  })
}

/** Names the default logbook where none is named yet; tells whether it did. */
export async function setDefaultLogbook(config: Config, clock: Clock, location: string): Promise<boolean> {
  let done = false
  await changeConfig(config, clock, (text, table) => {
    if (table['logbook'] !== undefined) return undefined
    done = true
    // Before the first table, since a key after a table's header belongs to that table.
    return {
      text: `${stringify({ logbook: location }).trimEnd()}\n${text === '' ? '' : `\n${text}`}`,
      table: { ...table, logbook: location },
    }
  })
  return done
}

export interface Changed {
  readonly text: string
  /** What the new text must read as. */
  readonly table: Record<string, unknown>
}

/** Changes the file under its lock; `change` may say that there is nothing to do. */
export async function changeConfig(
  config: Config,
  clock: Clock,
  change: (text: string, table: Record<string, unknown>) => Changed | undefined,
): Promise<void> {
  const path = userConfigFile(config)
  await makePrivateFolder(config.folders.config)
  await withFileLock(join(config.folders.config, 'config.lock'), clock, async () => {
    const text = await readText(path)
    parseSettings(text, { path, whose: 'user' })
    const changed = change(text, parse(text))
    if (changed === undefined) return
    // The text was changed by lines: only a result that reads as meant is written.
    if (!readsAs(changed))
      throw new VmlError('conflict', `Cannot change ${path}: it is written in a way that VML does not edit`, {
        hint: 'Make the change in the file yourself',
      })
    await writeFileDurable(path, changed.text)
  })
}

function readsAs(changed: Changed): boolean {
  try {
    return isDeepStrictEqual(plain(parse(changed.text)), plain(changed.table))
  } catch {
    return false
  }
}

/** Dates and prototypes aside: what the file says, as JSON would. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return ''
    throw error
  }
}

export function tableIn(table: Record<string, unknown>, key: string): Record<string, unknown> {
  const value = table[key]
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
}

/** As it stands between the brackets of a header. */
export function tableName(path: readonly string[]): string {
  return path.map((key) => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key))).join('.')
}

/** Cuts a table's header and its lines, with the empty lines and comments of the next table left in place. */
export function withoutTable(text: string, path: readonly string[]): string {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => isDeepStrictEqual(headerPath(line), path))
  if (start < 0) return text
  let end = start + 1
  while (end < lines.length && !/^\s*(?:\[|#|$)/.test(lines[end] ?? '')) end++
  if (lines[start - 1] === '' && (lines[end] ?? '') === '') end++
  lines.splice(start, end - start)
  return lines.join('\n')
}

/** The keys of `[a."b c"]`; undefined for a line that is no header of a table. */
function headerPath(line: string): readonly string[] | undefined {
  if (!/^\s*\[[^[]/.test(line)) return undefined
  const path: string[] = []
  try {
    let table: unknown = parse(line)
    for (;;) {
      const [key, ...more] = typeof table === 'object' && table !== null ? Object.entries(table) : []
      if (!key || more.length > 0) return path
      path.push(key[0])
      table = key[1]
    }
  } catch {
    return undefined
  }
}
