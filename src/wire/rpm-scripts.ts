// The scripts of an rpm package: when they run, by which program, and on behalf of whom.
import type { RawText } from '../base/raw-text.ts'
import { badRpm, type RpmHeader } from './rpm-header.ts'
import { relationsOf, type RpmRelation } from './rpm-relations.ts'
import { scriptTags, triggerTags } from './rpm-tags.ts'

export interface RpmScript {
  readonly when: keyof typeof scriptTags
  /** With its arguments: `/bin/sh`, or `<lua>` for the interpreter within rpm. */
  readonly interpreter: readonly RawText[]
  /** Empty where the interpreter alone is run, as in `%post -p /sbin/ldconfig`. */
  readonly text: RawText
}

export type RpmTriggerMoment = 'prein' | 'in' | 'un' | 'postun'

/** A script that runs when others come and go: packages by their names, files by the beginnings of their paths. */
export interface RpmTrigger {
  readonly kind: keyof typeof triggerTags
  readonly interpreter: RawText
  readonly text: RawText
  readonly targets: readonly (RpmRelation & { readonly moment: RpmTriggerMoment | undefined })[]
}

/** More than any program would hold; each is one text of the header. */
const triggersMax = 10_000

export function readScripts(header: RpmHeader): readonly RpmScript[] {
  return scriptNames.flatMap((when) => {
    const tags = scriptTags[when]
    if (!header.has(tags.text) && !header.has(tags.program)) return []
    const named = header.texts(tags.program)
    return [
      { when, interpreter: named.length === 0 ? [shell] : named, text: header.text(tags.text) ?? empty },
    ]
  })
}

export function readTriggers(header: RpmHeader): readonly RpmTrigger[] {
  return triggerKinds.flatMap((kind) => triggersOf(header, kind))
}

const scriptNames = Object.keys(scriptTags) as (keyof typeof scriptTags)[]
const triggerKinds = Object.keys(triggerTags) as (keyof typeof triggerTags)[]
const empty = '' as RawText
/** What rpm takes where no program is named (rpm, docs/manual/spec.md). */
const shell = '/bin/sh' as RawText

/** Bits of RPMSENSE in the flags of a trigger's target. */
const moments: readonly (readonly [number, RpmTriggerMoment])[] = [
  [1 << 25, 'prein'],
  [1 << 16, 'in'],
  [1 << 17, 'un'],
  [1 << 18, 'postun'],
]

function triggersOf(header: RpmHeader, kind: keyof typeof triggerTags): RpmTrigger[] {
  const tags = triggerTags[kind]
  const scripts = header.texts(tags.scripts)
  if (scripts.length > triggersMax) throw badRpm(`it has more than ${triggersMax} triggers`)
  const programs = header.texts(tags.programs)
  const indexes = header.numbers(tags.indexes)
  const flags = header.numbers(tags.flags)
  const relations = relationsOf(header, tags)
  if (relations.length !== indexes.length) throw badRpm('its triggers have more names than places, or fewer')
  const targets = scripts.map((): RpmTrigger['targets'][number][] => [])
  for (const [at, target] of relations.entries()) {
    const script = targets[indexes[at] ?? -1]
    if (script === undefined) throw badRpm('a trigger names a script that is not there')
    const moment = moments.find(([bit]) => ((flags[at] ?? 0) & bit) !== 0)?.[1]
    script.push({ ...target, moment })
  }
  return scripts.map((text, index) => ({
    kind,
    interpreter: programs[index] ?? shell,
    text,
    targets: targets[index] ?? [],
  }))
}
