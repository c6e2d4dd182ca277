// Why a change is not staged, in words for its record and for who waits for it.
import { readFileSync } from 'node:fs'
import { printableText } from '../base/raw-text.ts'
import { nearestOf, type RawPath } from '../model/raw-path.ts'
import { statusPath } from '../packages/dpkg-system.ts'
import { overlaysOf } from '../stage/mount-plan.ts'
import { onHost } from '../stage/stage-folder.ts'
import { type OpenStage, readIfThere } from './open-stage.ts'
import { asRaw, rawToBytes } from '../base/raw-text.ts'

const refusalBytesMax = 1000

/** Of a call of dpkg that ended in the stage with another status than 0. */
export function whyRedone(stage: OpenStage, status: number): string {
  // It is there when the last one who was to enter did not get in.
  const refusal = readIfThere(stage.folder.refusal)
  if (refusal !== undefined)
    return `the stage could not be entered: ${printableText(refusal.toString('utf8').trim().slice(0, refusalBytesMax))}`
  const names = failedPackages(stage)
  if (names.length === 0) return `dpkg ended with status ${status} in the stage`
  return `a script of ${names.join(', ')} failed in the stage`
}

const namesMax = 5

/** What dpkg left half done in the stage. */
function failedPackages({ plan }: OpenStage): string[] {
  const mount = nearestOf(statusPath, new Map(overlaysOf(plan).map((each) => [each.path, each])))
  if (mount === undefined) return []
  const rest = mount.path === '/' ? statusPath : statusPath.slice(mount.path.length)
  const text = readText(asRaw(`${onHost(plan, mount.layer)}/upper${rest}`) as RawPath)
  return text
    .split('\n\n')
    .filter((stanza) => /^Status: \S+ \S+ half-(?:configured|installed)$/m.test(stanza))
    .flatMap((stanza) => /^Package: ([a-z0-9][a-z0-9+.-]*)$/m.exec(stanza)?.[1] ?? [])
    .slice(0, namesMax)
}

function readText(file: RawPath): string {
  try {
    return readFileSync(rawToBytes(file), 'latin1')
  } catch {
    // It is only for the words.
    return ''
  }
}
