// How data of services goes from version to version: what VML brings, and what the machine's own `/etc/vml/state.d` says.
import { readdirSync, readFileSync } from 'node:fs'
import { messageOf, VmlError } from '../base/failure.ts'
import { rawToBytes } from '../base/raw-text.ts'
import { whyNotRoots } from '../transaction/own-checks.ts'
import { stateHookTable } from '../transaction/state-hook-table.ts'
import { inRoot, pathIn } from '../transaction/workplace.ts'
import { isMisfit } from '../model/field-check.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import { parseStateHook, type StateHook, type StateHookFields } from '../model/state-hook.ts'
import { parse } from './toml.ts'

export const stateHooksFolder = '/etc/vml/state.d'

const hooksMax = 200
/** Two commands of 64 KiB, and room for comments. */
const fileBytesMax = 256 * 1024
const fileName = /^([A-Za-z0-9_-]{1,64})\.toml$/

/**
 * In the order of their names. A file named as one of VML's own changes what it says of it. Whoever may write a file, or where it lies, would be root by it; and an
 * undo without a hook that somebody meant would leave data that the old version cannot read: one that cannot be taken is a failure.
 */
export function listStateHooks(root: RawPath): readonly StateHook[] {
  const place = { root }
  const folder = pathIn(rootPath, stateHooksFolder)
  const fields = new Map<string, StateHookFields>(Object.entries(stateHookTable))
  const whyFolder = whyNotRoots(place, folder, 'dir')
  if (whyFolder !== undefined && whyFolder !== 'nothing') throw refused(stateHooksFolder, whyFolder)
  if (whyFolder === undefined) {
    const names = readdirSync(rawToBytes(inRoot(place, folder)), 'latin1').flatMap(
      (each) => fileName.exec(each)?.[1] ?? [],
    )
    if (names.length > hooksMax) throw refused(stateHooksFolder, `it has more than ${hooksMax} files`)
    for (const name of names) {
      const given = readHook(place, name)
      fields.set(name, Object.hasOwn(stateHookTable, name) ? { ...stateHookTable[name], ...given } : given)
    }
  }
  return [...fields]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([name, given]) => {
      const hook = parseStateHook(name, given)
      if (isMisfit(hook))
        throw refused(`${stateHooksFolder}/${name}.toml`, `"${hook.path.join('.')}": ${hook.problem}`)
      return hook ?? []
    })
}

function readHook(place: { readonly root: RawPath }, name: string): StateHookFields {
  const file = `${stateHooksFolder}/${name}.toml`
  const path = pathIn(rootPath, file)
  const why = whyNotRoots(place, path, 'file')
  if (why !== undefined) throw refused(file, why)
  const bytes = readFileSync(rawToBytes(inRoot(place, path)))
  if (bytes.length > fileBytesMax) throw refused(file, `it is longer than ${fileBytesMax} bytes`)
  try {
    return parse(bytes.toString('utf8'))
  } catch (error) {
    throw refused(file, messageOf(error).split('\n', 1)[0] ?? '')
  }
}

function refused(file: string, reason: string): VmlError {
  return new VmlError('usage', `Cannot take ${file} as a hook for the state of a service: ${reason}`, {
    details: { path: file },
    hint: 'Nothing was changed. Mend the file; --leave-data goes without all of them',
  })
}
