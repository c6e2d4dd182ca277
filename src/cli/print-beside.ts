// What an undo says of files that stay as they are: where both sides of each lie.
import { printable, type RawText } from '../base/raw-text.ts'
import { baseName, parentPath, type RawPath } from '../model/raw-path.ts'
import type { BesideFile } from '../transaction/beside-files.ts'
import type { UndoPlan } from '../transaction/undo.ts'
import { plural } from './format.ts'

const meanings = { mine: 'as it is', old: 'as it was before what is taken back' } as const

/** The end of the sentence on one path that stays. */
export function besideText({ beside }: Pick<UndoPlan, 'beside'>, path: RawPath): string {
  const files = beside.filter(({ of }) => of === path)
  if (files.length === 0) return ''
  if (files.length === 2 && files.every(isUsual)) return '; both sides are put beside it as .mine and .old'
  const named = files.map((file) => `"${printable(shortest(file))}" (${meanings[file.side]})`)
  return `; put beside it: ${named.join(', ')}`
}

export function stayedNote({ paths: { conflicts }, beside }: Pick<UndoPlan, 'paths' | 'beside'>): string {
  const stayed = `${plural(conflicts.length, 'path')} stayed as ${conflicts.length === 1 ? 'it is' : 'they are'}`
  if (beside.length === 0) return stayed
  const others = beside.every(isUsual) ? '' : ', where no other names are told above'
  const sides = (['mine', 'old'] as const).filter((side) => beside.some((file) => file.side === side))
  const told = sides.map((side) => `.${side} (${meanings[side]})`).join(' and ')
  const paired = new Set(beside.map(({ of }) => of)).size
  const where = paired === conflicts.length ? 'beside' : `beside ${paired} of them`
  const [files, them] = paired === 1 ? ['file', 'it'] : ['files', 'them']
  return `${stayed}; ${where} ${sides.length === 1 ? 'lies' : 'lie'} ${told}${others}: edit the ${files} as you want ${them}, and remove these`
}

function isUsual({ path, of, side }: BesideFile): boolean {
  return path === `${of}.${side}`
}

function shortest({ path, of }: BesideFile): RawText {
  return parentPath(path) === parentPath(of) ? baseName(path) : path
}
