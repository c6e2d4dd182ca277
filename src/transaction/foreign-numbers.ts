// Numbers of users and groups that an undo leaves with paths that are not theirs: the user goes and a file stays, or a file comes back and the number is somebody else's by now.
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { plannedBytes } from './undo-packages.ts'
import type { UndoPaths, UndoView } from './undo-plan.ts'
import { pathIn } from './workplace.ts'

export interface ForeignNumber {
  readonly kind: 'user' | 'group'
  readonly name: string
  readonly number: number
  /** Who has the number by now; without, nobody has it afterwards, and whoever is made next may get it. */
  readonly of?: string
  /** That stay, or come back, with the number. */
  readonly paths: readonly RawPath[]
}

const files = [
  { kind: 'user', path: pathIn(rootPath, '/etc/passwd'), numberOf: 'uid' },
  { kind: 'group', path: pathIn(rootPath, '/etc/group'), numberOf: 'gid' },
] as const

/** Of the paths that the plan knows. Reads only; where a list of users cannot be read nothing is told. */
export async function findForeignNumbers(
  view: Pick<UndoView, 'now' | 'contentNow'>,
  contents: TransactionContents,
  paths: UndoPaths,
): Promise<readonly ForeignNumber[]> {
  const found: ForeignNumber[] = []
  for (const { kind, path, numberOf } of files) {
    if (view.now(path)?.type !== 'file') continue
    const now = accountsOf(view.contentNow(path))
    const planned = paths.paths.find((each) => each.path === path)
    if (planned?.content) {
      const after = new Set(accountsOf(await plannedBytes(contents, planned.content)).values())
      for (const [name, number] of now) {
        if (after.has(number)) continue
        const staying = [...paths.kept, ...paths.conflicts].map((each) => each.path)
        const left = staying.filter((each) => view.now(each)?.[numberOf] === number)
        if (left.length > 0) found.push({ kind, name, number, paths: left })
      }
    }
    const conflict = paths.conflicts.find((each) => each.path === path)
    if (conflict?.old === undefined) continue
    const then = accountsOf(await plannedBytes(contents, conflict.old))
    const names = new Map([...now].map(([name, number]) => [number, name]))
    for (const name of conflict.keys) {
      const number = then.get(name)
      const of = number === undefined ? undefined : names.get(number)
      if (number === undefined || of === undefined || of === name) continue
      const back = paths.paths.filter(({ wanted }) => wanted?.[numberOf] === number)
      if (back.length > 0) found.push({ kind, name, number, of, paths: back.map((each) => each.path) })
    }
  }
  return found
}

/** passwd(5), group(5): numbers by name. */
function accountsOf(content: Buffer): Map<string, number> {
  const lines = content.toString('latin1').split('\n')
  return new Map(
    lines.flatMap((line) => {
      const [name = '', , number = ''] = line.split(':')
      return name !== '' && /^\d{1,10}$/.test(number) ? [[name, Number(number)] as const] : []
    }),
  )
}
