// Where looking at an entry begins: the deepest folder that holds everything that it has.
import { joinPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { Repository } from '../store/store.ts'
import type { LoggedEntry } from './entries.ts'
import { vmlPath } from './vml-path.ts'

/** The root where nothing, or more than one thing, lies in it. */
export async function findStartFolder(
  repository: Repository,
  entry: LoggedEntry,
  signal?: AbortSignal,
): Promise<RawPath> {
  let path = rootPath
  let { tree } = entry.snapshot
  for (;;) {
    const at = path
    const nodes = await repository.readTree(tree, { signal })
    const [only, ...others] = nodes.filter(({ name }) => joinPath(at, name) !== vmlPath)
    if (only?.subtree === undefined || others.length > 0) return path
    path = joinPath(path, only.name)
    tree = only.subtree
  }
}
