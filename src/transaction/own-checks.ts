// Checks of the machine's own: programs in `/etc/vml/checks.d`, which root alone can have put there.
import { lstatSync, readdirSync } from 'node:fs'
import { rawFromString, rawToBytes } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

export type OwnCheck =
  | { readonly kind: 'program'; readonly name: string; readonly path: RawPath }
  | { readonly kind: 'refused'; readonly name: string; readonly reason: string }

export const ownChecksFolder = '/etc/vml/checks.d'

/** Each takes its time with every transaction. */
const checksMax = 100
/** As run-parts(8) has it: what editors and package managers leave beside a file is none. */
const checkName = /^[A-Za-z0-9_-]{1,64}$/

/** In the order of their names. Whoever may write a program, or where it lies, would be root by it: such a one is not run. */
export function listOwnChecks(place: Workplace): OwnCheck[] {
  const folder = pathIn(rootPath, ownChecksFolder)
  const whyFolder = whyNotRoots(place, folder, 'dir')
  if (whyFolder === 'nothing') return []
  const name = ownChecksFolder
  if (whyFolder !== undefined) return [{ kind: 'refused', name, reason: whyFolder }]
  const names = readdirSync(rawToBytes(inRoot(place, folder)), 'latin1')
  const checks = names.filter((each) => checkName.test(each)).toSorted()
  if (checks.length > checksMax)
    return [{ kind: 'refused', name, reason: `it has more than ${checksMax} checks` }]
  return checks.map((each): OwnCheck => {
    const path = parseRawPath(rawFromString(`${ownChecksFolder}/${each}`)) ?? folder
    const reason = whyNotRoots(place, path, 'program')
    return reason === undefined
      ? { kind: 'program', name: each, path }
      : { kind: 'refused', name: each, reason }
  })
}

/** Undefined where root alone can have made it what it is; `nothing` where nothing is there. */
export function whyNotRoots(
  place: Pick<Workplace, 'root'>,
  path: RawPath,
  type: 'program' | 'file' | 'dir',
): string | undefined {
  const status = lstatSync(rawToBytes(inRoot(place, path)), { throwIfNoEntry: false })
  if (status === undefined) return 'nothing'
  if (type === 'dir' ? !status.isDirectory() : !status.isFile())
    return type === 'dir' ? 'it is no folder' : 'it is no file; links are not followed'
  if (status.uid !== 0) return 'it does not belong to root'
  if ((status.mode & 0o022) !== 0) return 'others than root may write it'
  if (type === 'program' && (status.mode & 0o111) === 0) return 'it is not executable'
  return undefined
}
