// Where whole trees of a Debian may differ and mean the same: paths that programs write anew, and numbers that depend on what came first.
import { asRaw } from '../src/base/raw-text.ts'
import type { AllowedDifference, TreeDifference } from './tree-compare.ts'
import { meanings, numberedFiles } from './tree-meanings.ts'
import type { Tree } from './tree-read.ts'

/** A file is there in both, and what it says is equal. */
function sameMeaning(name: keyof typeof meanings): AllowedDifference {
  return {
    name,
    allows: ({ path, kind }, { one, other }) => {
      if (!meanings[name].paths.test(path) || (kind !== 'content' && kind !== 'mtime')) return false
      const meaning = one.entries.get(path)?.meaning
      return meaning !== undefined && meaning === other.entries.get(path)?.meaning
    },
  }
}

/** It says nothing that the next run would not say again: it may differ, and be there or not. */
function withoutMeaning(name: string, paths: RegExp): AllowedDifference {
  return { name, allows: ({ path, kind }) => paths.test(path) && kind !== 'type' }
}

/** Issue 4, section 5: these, and no others. */
export const regenerated: readonly AllowedDifference[] = [
  sameMeaning('ld.so.cache'),
  sameMeaning('initrd'),
  sameMeaning('modules'),
  sameMeaning('info/dir'),
  sameMeaning('locale archive'),
  // Answers of debconf are no cache, in spite of where they lie; a folder that apt unpacks questions in is one.
  withoutMeaning(
    'caches',
    /^\/var\/cache\/(?:apt|ldconfig|man|fontconfig)\/.|^\/var\/cache\/debconf\/tmp\.ci(?:\/|$)|^\/var\/lib\/apt\/lists\/.|^\/root\/\.cache(?:\/|$)/,
  ),
  withoutMeaning('__pycache__', /\/__pycache__(?:\/[^/]+\.pyc)?$/),
  withoutMeaning('old copies', /^\/var\/lib\/dpkg\/[a-z]+-old$|^\/var\/cache\/debconf\/[a-z]+\.dat-old$/),
  withoutMeaning(
    'old copies',
    /^\/etc\/(?:passwd|group|shadow|gshadow|subuid|subgid)-$|^\/usr\/share\/info\/dir\.old$/,
  ),
  withoutMeaning('logs', /^\/var\/log\/./),
]

/**
 * What real packages draw at random or stamp with a time when they are installed: two runs of Debian itself differ there, in content alone.
 * For chains of which both install such a package by themselves.
 */
export const madePerMachine: readonly AllowedDifference[] = [
  contentOnly('keys of ssl-cert', /^\/etc\/ssl\/(?:certs|private)\/ssl-cert-snakeoil\.(?:pem|key)$/),
  contentOnly('number of the machine', /^\/var\/lib\/dbus\/machine-id$/),
  contentOnly('data of MariaDB', /^\/var\/lib\/mysql\/./),
  contentOnly('data of PostgreSQL', /^\/var\/lib\/postgresql\/\d+\/main\/./),
]

function contentOnly(name: string, paths: RegExp): AllowedDifference {
  return { name, allows: ({ path, kind }) => paths.test(path) && (kind === 'content' || kind === 'mtime') }
}

interface AccountNames {
  readonly users: readonly string[]
  readonly groups: readonly string[]
}

/**
 * Numbers of users and groups that were made after what was undone: a machine where that never ran had given them others. Only those
 * names may have another number in either tree, and each path must belong to the same name.
 */
export function otherNumbers(names: AccountNames): AllowedDifference {
  return {
    name: 'numbers of users and groups',
    allows: (difference, { one, other }) => {
      const { path, kind } = difference
      const trees = [one, other]
      if (kind === 'user') return sameName(difference, trees, '/etc/passwd', names.users)
      if (kind === 'group') return sameName(difference, trees, '/etc/group', names.groups)
      if (kind !== 'content' || !numberedFiles.test(path)) return false
      const [left, right] = trees.map((tree) => withoutNumbers(linesIn(tree, path), path, names))
      return left === right
    },
  }
}

function sameName(
  difference: TreeDifference,
  trees: readonly Tree[],
  path: string,
  names: readonly string[],
): boolean {
  const [one, other] = trees.map((tree, index) => {
    const number = index === 0 ? difference.one : difference.other
    const line = linesIn(tree, path).find((candidate) => candidate.split(':')[2] === number)
    return line?.split(':')[0]
  })
  return one !== undefined && one === other && names.includes(one)
}

function linesIn({ entries }: Tree, path: string): readonly string[] {
  return (entries.get(asRaw(path))?.meaning ?? '').split('\n')
}

/** Fields that are numbers of these names are put out of sight. */
function withoutNumbers(lines: readonly string[], path: string, { users, groups }: AccountNames): string {
  const hidden = lines.map((line) => {
    const fields = line.split(':')
    const [name = ''] = fields
    if (!(path === '/etc/group' ? groups : users).includes(name)) return line
    if (path === '/etc/group') return [name, fields[1], '*', fields[3]].join(':')
    // The second number of passwd is that of the user's own group; of subuid and subgid only the first is where a range begins.
    return path === '/etc/passwd'
      ? [name, fields[1], '*', '*', ...fields.slice(4)].join(':')
      : [name, '*', fields[2]].join(':')
  })
  return hidden.join('\n')
}
