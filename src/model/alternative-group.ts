// A group of alternatives as a whole: its file together with the links that go with it, which say what is chosen.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { bestChoice, parseAlternative, type Alternative, type AlternativeChoice } from './alternative.ts'
import { mergeAlternatives } from './merge-alternatives.ts'
import { threeWay, type MergeSides, type TextOutcome } from './merge-outcome.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'

export interface AlternativeGroup {
  /** The file's name below `/var/lib/dpkg/alternatives`. */
  readonly name: string
  readonly files: MergeSides<RawText>
  /** Where `/etc/alternatives/NAME` points. */
  readonly targets: MergeSides<RawText>
}

export interface AlternativeLinkState {
  readonly path: RawPath
  /** Undefined: no link is there. */
  readonly target: RawText | undefined
}

/** A conflict without keys: what was chosen by hand is none of the choices any more, or a file is none of update-alternatives'. */
export type AlternativeGroupOutcome =
  | {
      readonly kind: 'merged'
      readonly file: RawText | undefined
      readonly links: readonly AlternativeLinkState[]
    }
  | { readonly kind: 'conflict'; readonly keys: readonly RawText[] }

/**
 * To be used for a group whose file or link changed after k, in place of `mergeFile`: the file alone does not tell a choice made by hand in place of another one.
 * `exists`: whether a path will be there; update-alternatives makes no slave link to a file that is not. The links are `/etc/alternatives/*` and the generic
 * names, all that the group has now or will have.
 */
export function mergeAlternativeGroup(
  group: AlternativeGroup,
  exists: (path: RawPath) => boolean,
): AlternativeGroupOutcome {
  const { name, files, targets } = group
  const base = parsed(files.base)
  const ours = parsed(files.ours)
  const chosenLater =
    ours?.status === 'manual' && (base?.status !== 'manual' || targets.ours !== targets.base)
  const outcome: TextOutcome = mergeAlternatives(files, { chosenLater })
  if (outcome.kind === 'conflict') return { kind: 'conflict', keys: (outcome.keys ?? []).map(asRaw) }
  const merged = parsed(outcome.text)
  const chosen = chosenLater ? targets.ours : targets.theirs
  const choice = merged === undefined ? undefined : choiceOf(merged, chosen, targets)
  if (merged !== undefined && choice === undefined) return { kind: 'conflict', keys: [] }
  const links = linksOf({ name, ours, merged, choice }, exists)
  return { kind: 'merged', file: outcome.text === undefined ? undefined : asRaw(outcome.text), links }
}

const alternativesFolder = '/etc/alternatives'

function parsed(text: string | undefined): Alternative | undefined {
  return text === undefined ? undefined : parseAlternative(text)
}

function choiceOf(
  merged: Alternative,
  chosen: string | undefined,
  targets: MergeSides<RawText>,
): AlternativeChoice | undefined {
  if (merged.status === 'manual') return merged.choices.find(({ path }) => path === chosen)
  return bestChoice(merged, threeWay(targets)?.value ?? targets.ours)
}

interface LinksRequest {
  readonly name: string
  readonly ours: Alternative | undefined
  readonly merged: Alternative | undefined
  readonly choice: AlternativeChoice | undefined
}

function linksOf(
  { name, ours, merged, choice }: LinksRequest,
  exists: (path: RawPath) => boolean,
): AlternativeLinkState[] {
  const links = new Map<string, string | undefined>()
  const point = (link: { name: string; link: string }, file: string | undefined) => {
    links.set(`${alternativesFolder}/${link.name}`, file)
    links.set(link.link, file === undefined ? undefined : `${alternativesFolder}/${link.name}`)
  }
  if (ours !== undefined)
    for (const link of [{ name, link: ours.link }, ...ours.slaves]) point(link, undefined)
  if (merged !== undefined && choice !== undefined) {
    point({ name, link: merged.link }, choice.path)
    for (const [index, link] of merged.slaves.entries()) {
      const path = parseRawPath(asRaw(choice.slaves[index] ?? ''))
      point(link, path !== undefined && exists(path) ? path : undefined)
    }
  }
  return [...links].flatMap(([path, target]) => linkState(path, target))
}

/** Relative paths are none of update-alternatives', which wants absolute ones. */
function linkState(path: string, target: string | undefined): AlternativeLinkState[] {
  const raw = parseRawPath(asRaw(path))
  return raw === undefined ? [] : [{ path: raw, target: target === undefined ? undefined : asRaw(target) }]
}
