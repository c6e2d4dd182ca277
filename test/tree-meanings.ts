// What files say that programs write anew in other bytes: looked at when a tree is read, since a tree may be of a moment that is over.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readInitrd } from './initrd.ts'

interface Meaning {
  readonly paths: RegExp
  readonly look: (file: string) => readonly string[]
}

const localeArchive = '/usr/lib/locale/locale-archive'

/** By the names of the rules in tree-rules.ts. */
export const meanings = {
  'ld.so.cache': { paths: /^\/etc\/ld\.so\.cache$/, look: librariesOf },
  initrd: { paths: /^\/boot\/initrd\.img-[^/]+$/, look: (file) => readInitrd(readFileSync(file)) },
  modules: { paths: /^(?:\/usr)?\/lib\/modules\/[^/]+\/modules\.[a-z.]+$/, look: modulesOf },
  'info/dir': { paths: /^\/usr\/share\/info\/dir$/, look: sortedLinesOf },
  'locale archive': { paths: new RegExp(`^${localeArchive}$`), look: localesOf },
} as const satisfies Readonly<Record<string, Meaning>>

/** Files that are told by their lines: those that number users and groups. */
export const numberedFiles = /^\/etc\/(?:passwd|group|subuid|subgid)$/

/** Undefined for a file that has no meaning beyond its bytes, and for one that does not keep to its format. */
export function meaningOf(path: string, file: string): string | undefined {
  if (numberedFiles.test(path)) return readFileSync(file, 'latin1')
  const meaning = Object.values<Meaning>(meanings).find(({ paths }) => paths.test(path))
  if (meaning === undefined) return undefined
  try {
    return createHash('sha256').update(meaning.look(file).join('\n')).digest('hex')
  } catch {
    // Torn or not there: then bytes are compared.
    return undefined
  }
}

function sortedLinesOf(file: string): string[] {
  return readFileSync(file, 'latin1').split('\n').toSorted()
}

function librariesOf(file: string): string[] {
  const said = execFileSync('/sbin/ldconfig', ['-p', '-C', file], { encoding: 'latin1' })
  return said.split('\n').slice(1).toSorted()
}

/** localedef lists the archive of a root; of a file it would not. */
function localesOf(file: string): string[] {
  const root = file.slice(0, -localeArchive.length)
  const said = execFileSync('localedef', [`--prefix=${root}`, '--list-archive'], { encoding: 'latin1' })
  return said.split('\n').toSorted()
}

/** Of a `.bin`, which depmod orders as it likes: what the text beside it says, which both are made from. */
function modulesOf(file: string): string[] {
  return sortedLinesOf(file.replace(/\.builtin\.alias\.bin$/, '.builtin.modinfo').replace(/\.bin$/, ''))
}
