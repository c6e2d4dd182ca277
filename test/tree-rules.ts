// Where whole trees of a Debian may differ and mean the same: paths that programs write anew, each by a look at what it says.
import { execFileSync } from 'node:child_process'
import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { asRaw, rawToBytes, type RawText } from '../src/base/raw-text.ts'
import { readInitrd } from './initrd.ts'
import type { AllowedDifference, DifferenceKind, TreeDifference } from './tree-compare.ts'
import type { Tree } from './tree-read.ts'

type Meaning = (file: string) => unknown

/** A file is there in both, and what it says is equal. */
function sameMeaning(name: string, paths: RegExp, meaning: Meaning): AllowedDifference {
  return {
    name,
    allows: ({ path, kind }, { one, other }) =>
      paths.test(path) &&
      isContent(kind) &&
      isDeepStrictEqual(meaning(placeIn(one, path)), meaning(placeIn(other, path))),
  }
}

/** It says nothing that the next run would not say again: it may differ, and be there or not. */
function withoutMeaning(name: string, paths: RegExp): AllowedDifference {
  return {
    name,
    allows: ({ path, kind }) => paths.test(path) && (isContent(kind) || isPresence(kind)),
  }
}

/** Issue 4, section 5: these, and no others. */
export const regenerated: readonly AllowedDifference[] = [
  sameMeaning('ld.so.cache', /^\/etc\/ld\.so\.cache$/, librariesOf),
  sameMeaning('initrd', /^\/boot\/initrd\.img-[^/]+$/, (file) => readInitrd(readFileSync(file))),
  sameMeaning('modules', /^(?:\/usr)?\/lib\/modules\/[^/]+\/modules\.[a-z.]+$/, modulesOf),
  sameMeaning('info/dir', /^\/usr\/share\/info\/dir$/, linesOf),
  withoutMeaning('info/dir', /^\/usr\/share\/info\/dir\.old$/),
  sameMeaning('locale archive', /^\/usr\/lib\/locale\/locale-archive$/, localesOf),
  withoutMeaning(
    'caches',
    /^\/var\/cache\/(?:apt|ldconfig|man|fontconfig)\/.|^\/var\/lib\/apt\/lists\/.|^\/root\/\.cache(?:\/|$)/,
  ),
  withoutMeaning('__pycache__', /\/__pycache__(?:\/[^/]+\.pyc)?$/),
  withoutMeaning('old copies', /^\/var\/lib\/dpkg\/[a-z]+-old$|^\/var\/cache\/debconf\/[a-z]+\.dat-old$/),
  withoutMeaning('old copies', /^\/etc\/(?:passwd|group|shadow|gshadow|subuid|subgid)-$/),
  withoutMeaning('logs', /^\/var\/log\/./),
]

/**
 * Numbers of users and groups that were made after what was undone: a machine where that never ran had given them others. Only those
 * names may have another number in either tree, and each path must belong to the same name.
 */
export function otherNumbers(names: {
  readonly users: readonly string[]
  readonly groups: readonly string[]
}): AllowedDifference {
  const numbered = /^\/etc\/(?:passwd|group|subuid|subgid)-?$/
  return {
    name: 'numbers of users and groups',
    allows: (difference, { one, other }) => {
      const { path, kind } = difference
      if (kind === 'user') return sameName(difference, [one, other], 'passwd', names.users)
      if (kind === 'group') return sameName(difference, [one, other], 'group', names.groups)
      if (kind !== 'content' || !numbered.test(path)) return false
      const [left, right] = [one, other].map((tree) => withoutNumbers(placeIn(tree, path), names))
      return left === right
    },
  }
}

function sameName(
  difference: TreeDifference,
  trees: readonly Tree[],
  file: string,
  names: readonly string[],
): boolean {
  const [one, other] = [difference.one, difference.other].map((number, index) => {
    const tree = trees[index]
    const lines = tree === undefined ? [] : readLines(join(tree.root, 'etc', file))
    return lines.find((line) => line.split(':')[2] === number)?.split(':')[0]
  })
  return one !== undefined && one === other && names.includes(one)
}

/** Fields that are numbers of these names, or of a group of these names, are put out of sight. */
function withoutNumbers(
  file: string,
  { users, groups }: { users: readonly string[]; groups: readonly string[] },
): string {
  const kind = /([a-z]+)-?$/.exec(file)?.[1]
  return readLines(file)
    .map((line) => {
      const fields = line.split(':')
      const [name = ''] = fields
      if (kind === 'group') return groups.includes(name) ? [name, fields[1], '*', fields[3]].join(':') : line
      if (!users.includes(name)) return line
      return kind === 'passwd'
        ? [name, fields[1], '*', '*', ...fields.slice(4)].join(':')
        : [name, '*', fields[2]].join(':')
    })
    .join('\n')
}

function isContent(kind: DifferenceKind): boolean {
  return kind === 'content' || kind === 'mtime'
}

function isPresence(kind: DifferenceKind): boolean {
  return kind === 'only in one' || kind === 'only in other'
}

/** Paths of these rules are plain text. */
function placeIn(tree: Tree, path: RawText): string {
  return `${tree.root}${rawToBytes(asRaw(path)).toString()}`
}

function readLines(file: string): string[] {
  return readFileSync(file, 'latin1').split('\n')
}

function linesOf(file: string): string[] {
  return readLines(file).toSorted()
}

function librariesOf(file: string): string {
  return execFileSync('/sbin/ldconfig', ['-p', '-C', file], { encoding: 'latin1' }).replace(
    /.* libs found.*\n/,
    '',
  )
}

function localesOf(file: string): string[] {
  const said = execFileSync('localedef', ['--list-archive', file], { encoding: 'latin1' })
  return said.split('\n').toSorted()
}

/** Of a `.bin`, which depmod orders as it likes: what the text beside it says, which it is made from. */
function modulesOf(file: string): string[] {
  const text = file.replace(/\.bin$/, '')
  const beside = text.endsWith('modules.builtin.alias') ? text.replace(/alias$/, 'modinfo') : text
  if (!lstatSync(beside).isFile()) throw new Error(`No file: ${beside}`)
  return linesOf(beside)
}
