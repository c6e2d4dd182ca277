// Merges a group of alternatives: its choices and slave links are sets, a manual choice made later stays.
import { formatAlternative, parseAlternative, type Alternative } from './alternative.ts'
import { mergeKeyed, type KeyedRecord } from './merge-keyed.ts'
import {
  bothChanged,
  outcomeOf,
  threeWay,
  type MergeSides,
  type TextMerge,
  type TextOutcome,
} from './merge-outcome.ts'

/** Without a look at the links (`alternative-group.ts`), a manual choice is taken for one that was made later. */
export const mergeAlternative: TextMerge = (sides) => mergeAlternatives(sides, { chosenLater: true })

/**
 * A file that is none of update-alternatives' is a conflict. Without choices the group goes, as update-alternatives has it. `chosenLater`: if ours is manual,
 * it was made so later than k.
 */
export function mergeAlternatives(sides: MergeSides<string>, options: { chosenLater: boolean }): TextOutcome {
  const [base, ours, theirs] = [sides.base, sides.ours, sides.theirs].map((text) =>
    text === undefined ? absent : parseAlternative(text),
  )
  if (base === undefined || ours === undefined || theirs === undefined) return bothChanged
  return mergeParsed({ base, ours, theirs }, options)
}

const absent: Alternative = { status: 'auto', link: '', slaves: [], choices: [] }

type Groups = Readonly<Record<keyof MergeSides<unknown>, Alternative>>

function mergeParsed(groups: Groups, { chosenLater }: { chosenLater: boolean }): TextOutcome {
  const { base, ours, theirs } = groups
  const choices = mergeRecords(groups, choiceRecords, mergeChoice)
  const slaves = mergeRecords(withLinksInUse(groups, choices.records), slaveRecords)
  if (choices.records.length === 0) return outcomeOf(undefined, [])
  const link = threeWay({ base: base.link, ours: ours.link, theirs: theirs.link })
  const conflicts = [...choices.conflicts, ...slaves.conflicts]
  if (link === undefined) conflicts.push(ours.link)
  // The path of the generic link: a side that is not there has nothing to say of it.
  const path =
    [link?.value, ours.link, theirs.link].find((known) => known !== undefined && known !== '') ?? ''
  // Of two words one is k's and one is later's: what was chosen later stays.
  const isLater = ours.status === 'manual' ? chosenLater : ours.status !== base.status
  const status = isLater ? ours.status : theirs.status
  return outcomeOf(
    formatAlternative(assemble({ status, link: path }, choices.records, slaves.records, ours)),
    conflicts,
  )
}

function mergeRecords(
  { base, ours, theirs }: Groups,
  records: (group: Alternative) => KeyedRecord[],
  mergeRecord?: Parameters<typeof mergeKeyed>[1],
): ReturnType<typeof mergeKeyed> {
  return mergeKeyed({ base: records(base), ours: records(ours), theirs: records(theirs) }, mergeRecord)
}

function slaveRecords({ slaves }: Alternative): KeyedRecord[] {
  return slaves.map(({ name, link }) => ({ key: name, text: link }))
}

/** A choice as text: its priority, then `name <newline> file` of each slave that it has. */
function choiceRecords({ slaves, choices }: Alternative): KeyedRecord[] {
  return choices.map(({ path, priority, slaves: files }) => ({
    key: path,
    text: [
      String(priority),
      ...files.flatMap((file, index) => (file === '' ? [] : [slaves[index]?.name ?? '', file])),
    ].join('\n'),
  }))
}

function mergeChoice({ base, ours, theirs }: MergeSides<string>): { text: string } | undefined {
  if (base === undefined || ours === undefined || theirs === undefined) return undefined
  const priority = threeWay({ base: priorityOf(base), ours: priorityOf(ours), theirs: priorityOf(theirs) })
  const files = mergeKeyed({ base: filesOf(base), ours: filesOf(ours), theirs: filesOf(theirs) })
  if (priority?.value === undefined || files.conflicts.length > 0) return undefined
  return { text: [priority.value, ...files.records.flatMap(({ key, text }) => [key, text])].join('\n') }
}

function priorityOf(choice: string): string {
  return choice.split('\n', 1)[0] ?? ''
}

function filesOf(choice: string): KeyedRecord[] {
  const lines = choice.split('\n').slice(1)
  return lines.flatMap((key, index) => (index % 2 === 0 ? [{ key, text: lines[index + 1] ?? '' }] : []))
}

/** A link that a choice uses stays or comes back, though one side, which used it no more, has dropped it. */
function withLinksInUse(groups: Groups, choices: readonly KeyedRecord[]): Groups {
  const { base, ours, theirs } = groups
  const used = new Set(choices.flatMap(({ text }) => filesOf(text).map(({ key }) => key)))
  const [inOurs, inTheirs] = [ours, theirs].map(({ slaves }) => new Set(slaves.map(({ name }) => name)))
  const fromOurs = ours.slaves.filter(({ name }) => used.has(name) && inTheirs?.has(name) === false)
  const gone = base.slaves.filter(({ name }) => used.has(name) && inOurs?.has(name) === false)
  return {
    base: { ...base, slaves: base.slaves.filter((link) => !gone.includes(link)) },
    ours,
    theirs: { ...theirs, slaves: [...theirs.slaves, ...fromOurs] },
  }
}

/** update-alternatives drops slave links that no choice has, when it writes. */
function assemble(
  head: Pick<Alternative, 'status' | 'link'>,
  choices: readonly KeyedRecord[],
  slaves: readonly KeyedRecord[],
  ours: Alternative,
): Alternative {
  const files = choices.map(({ text }) => new Map(filesOf(text).map((file) => [file.key, file.text])))
  const unusedNow = new Set(
    ours.slaves
      .filter((_, at) => ours.choices.every((choice) => choice.slaves[at] === ''))
      .map(({ name }) => name),
  )
  const links = slaves.filter(({ key }) => unusedNow.has(key) || files.some((choice) => choice.has(key)))
  return {
    ...head,
    slaves: links.map(({ key, text }) => ({ name: key, link: text })),
    choices: choices.map(({ key, text }, at) => ({
      path: key,
      priority: Number(priorityOf(text)),
      slaves: links.map((link) => files[at]?.get(link.key) ?? ''),
    })),
  }
}
