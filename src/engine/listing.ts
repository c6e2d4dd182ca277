// The paths of a machine as one scan found them, as a tree in memory.
import { VmlError } from '../base/failure.ts'
import {
  baseName,
  entryPathsMax,
  parentPath,
  type RawName,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'

export interface ListedPath {
  readonly path: RawPath
  attributes: Attributes
  /** Folders only. */
  readonly children: Map<RawName, ListedPath>
}

/** A listing has an item for each path that was seen; parents may be missing where only paths below them were asked for. */
export class Listing {
  readonly #items = new Map<RawPath, ListedPath>()

  get size(): number {
    return this.#items.size
  }

  get(path: RawPath): ListedPath | undefined {
    return this.#items.get(path)
  }

  paths(): IterableIterator<RawPath> {
    return this.#items.keys()
  }

  items(): IterableIterator<ListedPath> {
    return this.#items.values()
  }

  /** Adds a path, or brings its attributes up to date. */
  add(path: RawPath, attributes: Attributes): ListedPath {
    const known = this.#items.get(path)
    if (known) {
      known.attributes = attributes
      return known
    }
    if (this.#items.size >= entryPathsMax) {
      throw new VmlError('unsupported', `Cannot take in more than ${entryPathsMax} paths at once`, {
        hint: 'Nothing was changed. Save parts of it, each with --only DIR, or leave folders out with --exclude',
      })
    }
    const item: ListedPath = { path, attributes, children: new Map() }
    this.#items.set(path, item)
    if (path !== rootPath) this.#items.get(parentPath(path))?.children.set(baseName(path), item)
    return item
  }

  /** Removes a path with everything below it. */
  remove(path: RawPath): void {
    const item = this.#items.get(path)
    if (!item) return
    for (const child of [...item.children.values()]) this.remove(child.path)
    this.#items.delete(path)
    if (path !== rootPath) this.#items.get(parentPath(path))?.children.delete(baseName(path))
  }

  /** The path and everything below it, parents first. */
  *below(path: RawPath): IterableIterator<ListedPath> {
    const stack = [this.#items.get(path)]
    for (let item = stack.pop(); item; item = stack.pop()) {
      yield item
      for (const child of item.children.values()) stack.push(child)
    }
  }
}
