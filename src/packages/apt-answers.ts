// What apt-get says in the C locale: dependencies that are broken, and the steps of a simulation (apt 2.6, private-output.cc, algorithms.cc).
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import type { BrokenDependency, NeededPackage } from './broken-dependency.ts'
import { lines } from './package-records.ts'

export interface SimulatedStep {
  readonly action: 'install' | 'configure' | 'remove' | 'purge'
  /** With `:architecture` where it is not the machine's own. */
  readonly package: string
  /** What is installed; not there for a new package. */
  readonly from?: string
  /** What would be installed. */
  readonly to?: string
}

/** Two for each of the packages of the largest distribution. */
const answersMax = 400_000
const namePattern = String.raw`[a-z0-9][a-z0-9+.-]{0,127}(?::[a-z0-9-]{1,64})?`
const versionPattern = String.raw`[A-Za-z0-9.+~:-]{1,256}`
const brokenStart = new RegExp(`^ (${namePattern}) :(.*)$`)
const relationPattern = /^ +(?:(PreDepends|Depends|Conflicts|Breaks|Obsoletes|Recommends|Suggests): )?(.*)$/
const neededPattern = new RegExp(
  `^(${namePattern})(?: \\((<=|>=|<<|>>|<|>|=|!=) (${versionPattern})\\))?(?: but (.*?))?(?<!but) ?( or)?$`,
)
const installedPattern = new RegExp(`^(${versionPattern}) is (?:to be )?installed$`)

/** All that stands below "The following packages have unmet dependencies:"; empty where apt names none. */
export function parseBroken(text: string): readonly BrokenDependency[] {
  const found: BrokenDependency[] = []
  let inside = false
  let name: string | undefined
  let relation: string | undefined
  let alternatives: NeededPackage[] = []
  for (const line of lines(text)) {
    if (line === 'The following packages have unmet dependencies:') {
      inside = true
      continue
    }
    if (!inside) continue
    if (!line.startsWith(' ')) break
    const start = brokenStart.exec(line)
    if (start !== null) [name, relation] = [start[1], undefined]
    const rest = start === null ? line : ` ${start[2] ?? ''}`
    if (rest.trim() === '') continue
    const [, newRelation, needed = ''] = relationPattern.exec(rest) ?? []
    relation = newRelation ?? relation
    const parsed = neededPattern.exec(needed)
    if (name === undefined || relation === undefined || parsed === null) throw unreadable(line)
    const [, target = '', operator, version, state = '', or] = parsed
    const installed = installedPattern.exec(state)?.[1]
    alternatives.push({
      name: target,
      ...(operator === undefined ? {} : { constraint: `${operator} ${version ?? ''}` }),
      ...(installed === undefined ? {} : { installed }),
    })
    if (or !== undefined) continue
    found.push({ package: name, relation, alternatives })
    alternatives = []
    if (found.length > answersMax) throw unreadable(line)
  }
  return found
}

const actions = { Inst: 'install', Conf: 'configure', Remv: 'remove', Purg: 'purge' } as const
const stepPattern = new RegExp(
  `^(Inst|Conf|Remv|Purg) (${namePattern})(?: \\[(${versionPattern})\\])?(?: \\((${versionPattern}) [^)]*\\))?(?: \\[[a-z0-9 .+:-]*\\])*$`,
)

/** In apt's order. */
export function parseSimulation(text: string): readonly SimulatedStep[] {
  const steps: SimulatedStep[] = []
  for (const line of lines(text)) {
    if (!/^(?:Inst|Conf|Remv|Purg) /.test(line)) continue
    const [, word, name, from, to] = stepPattern.exec(line.trimEnd()) ?? []
    if (name === undefined || (word !== 'Inst' && word !== 'Conf' && word !== 'Remv' && word !== 'Purg'))
      throw unreadable(line)
    steps.push({
      action: actions[word],
      package: name,
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
    })
    if (steps.length > answersMax) throw unreadable(line)
  }
  return steps
}

/** apt's own sentences, without `E: `. */
export function parseErrors(text: string): readonly string[] {
  return [...lines(text)]
    .filter((line) => line.startsWith('E: '))
    .map((line) => printableText(line.slice(3, 1024)))
}

function unreadable(line: string): VmlError {
  return new VmlError(
    'remote.protocol',
    `Cannot read apt's answer: it has "${printableText(line.slice(0, 200))}"`,
  )
}
