// What an entry leaves out, and by which rule. The same rules tell a restore what it must never delete.
import ignore, { type Ignore } from 'ignore'
import { type RawText, rawFromString, rawToUtf8 } from '../base/raw-text.ts'
import {
  baseName,
  isWithin,
  joinPath,
  parentPath,
  type RawName,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import { isRestoreLeftover } from '../source/restore-leftover.ts'
import type { Listing } from './listing.ts'
import type { Row } from './listing-row.ts'

export interface ExclusionRules {
  /** Never captured, whatever is included: VML's keys, state and caches, an open logbook, `/.vml` of a guest. */
  readonly never: readonly { readonly path: RawPath; readonly rule: string }[]
  /** Patterns in gitignore syntax, as the user gave them, relative to the machine's root. */
  readonly exclude: readonly string[]
  /** The short list below is in force. */
  readonly defaults: boolean
  /** Content of the `.vmlignore` files, by the folder that they lie in. */
  readonly ignoreFiles: ReadonlyMap<RawPath, Uint8Array>
  /** Folders with a valid CACHEDIR.TAG (https://bford.info/cachedir/). */
  readonly cacheFolders: ReadonlySet<RawPath>
}

export interface Excluded {
  readonly path: RawPath
  readonly rule: string
}

export const ignoreFileName = '.vmlignore' as RawName
export const cacheTagName = 'CACHEDIR.TAG' as RawName
/** The first bytes of a valid tag. */
export const cacheTagSignature = 'Signature: 8a477f597d28d172789f06886806bc55'
export const ignoreFileBytesMax = 1024 * 1024

/**
 * What nobody wants back: caches of browsers, thumbnails, the trash, and what package managers fetch again by themselves. Not where something that
 * is installed runs from (yarn's PnP archives, pnpm's store), nor what is nowhere else (Go's fuzzing corpus, Maven's own builds). `.vmlignore` with `!pattern` takes one in again.
 */
const defaultPatterns: readonly (readonly [pattern: string, name: string])[] = [
  ['.cache/mozilla/', 'browser caches'],
  ['.cache/google-chrome/', 'browser caches'],
  ['.cache/chromium/', 'browser caches'],
  ['.cache/BraveSoftware/', 'browser caches'],
  ['.cache/microsoft-edge/', 'browser caches'],
  ['.config/*/**/Code Cache/', 'browser caches'],
  ['.config/*/**/GPUCache/', 'browser caches'],
  ['.mozilla/firefox/*/cache2/', 'browser caches'],
  ['.cache/thumbnails/', 'thumbnails'],
  ['.thumbnails/', 'thumbnails'],
  ['.local/share/Trash/', 'trash'],
  ['.Trash-[0-9]*/', 'trash'],
  ['.npm/_cacache/', 'package caches'],
  ['.cache/yarn/', 'package caches'],
  ['.cache/pnpm/', 'package caches'],
  ['.cache/pip/', 'package caches'],
  ['.cargo/registry/cache/', 'package caches'],
  ['.cargo/registry/index/', 'package caches'],
  ['.cache/go-build/[0-9a-f][0-9a-f]/', 'package caches'],
]

interface Matcher {
  readonly folder: RawPath
  readonly matcher: Ignore
  /** Quickly tells of most paths that no pattern can mean them. */
  readonly mayMatch?: (relative: string, isFolder: boolean) => boolean
  readonly describe: (rule: { pattern: string; mark?: string | undefined }) => string
}

export interface Exclusion {
  /** The rule that leaves this path out, given that its parent folder is kept; undefined when it is kept. */
  ruleFor(path: RawPath, isFolder: boolean): string | undefined
  /** That every file directly in this folder whose name does not begin with a dot is kept. False where that needs a look at each. */
  keepsFiles(folder: RawPath): boolean
}

/**
 * Rules for everything below one root. A root that the user named is itself always kept; rules that lie
 * outside of it do not reach into it, and `explicit` ones (`--include`, `--only`, `--cache`) are not subject to the defaults.
 */
export function openExclusion(rules: ExclusionRules, root: RawPath, explicit: boolean): Exclusion {
  const never = new Map(rules.never.map(({ path, rule }) => [path, rule]))
  // A root may lie inside of what is never captured.
  const aroundRoot = rules.never.find(({ path }) => isWithin(root, path))?.rule
  const general: Matcher[] = []
  if (rules.defaults && !explicit) general.push(defaultMatcher(root))
  if (rules.exclude.length > 0) general.push(optionMatcher(rules.exclude))
  const files = new Map<RawPath, Matcher | undefined>()
  const inFolder = (folder: RawPath): Matcher | undefined => {
    if (files.has(folder)) return files.get(folder)
    const content = rules.ignoreFiles.get(folder)
    const matcher = content && fileMatcher(folder, content)
    files.set(folder, matcher)
    return matcher
  }
  /** Outermost first. */
  const matchersFor = (path: RawPath): Matcher[] => {
    const inner: Matcher[] = []
    for (let folder = parentPath(path); rules.ignoreFiles.size > 0; folder = parentPath(folder)) {
      const matcher = inFolder(folder)
      if (matcher) inner.push(matcher)
      if (folder === root || folder === rootPath) break
    }
    return [...general, ...inner.reverse()]
  }
  const aroundNever = new Set(rules.never.map(({ path }) => parentPath(path)))
  return {
    keepsFiles: (folder) =>
      aroundRoot === undefined &&
      !aroundNever.has(folder) &&
      !rules.cacheFolders.has(folder) &&
      rules.exclude.length === 0 &&
      // The default patterns are of folders.
      (rules.ignoreFiles.size === 0 ||
        matchersFor(joinPath(folder, anyName)).every(({ mayMatch }) => mayMatch)),
    ruleFor(path, isFolder) {
      const absolute = never.get(path) ?? aroundRoot
      if (absolute !== undefined) return absolute
      if (path === root) return undefined
      // Nobody's file: a part of one, or the whole of one that never got its name.
      if (!isFolder && isRestoreLeftover(baseName(path))) return 'left by a restore that was cut off'
      // A restore must know the rules of what it finds: their files are in every entry that has the folder.
      if (!isFolder && path.endsWith(`/${ignoreFileName}`)) return undefined
      const parent = parentPath(path)
      if (rules.cacheFolders.has(parent) && parent !== root) {
        return path.endsWith(`/${cacheTagName}`) ? undefined : `${cacheTagName} in the folder`
      }
      return verdict(matchersFor(path), path, isFolder)
    },
  }
}

/**
 * Takes what the rules leave out from the listing, below one root; the excluded paths are the topmost ones. `done` are
 * roots with rules of their own: they stay, wherever they lie.
 */
export function applyExclusion(
  listing: Listing,
  root: RawPath,
  exclusion: Exclusion,
  done: ReadonlySet<Row> = new Set(),
): Excluded[] {
  const excluded: Excluded[] = []
  const start = listing.find(root)
  if (start < 0) return excluded
  const rule = exclusion.ruleFor(root, true)
  if (rule !== undefined) {
    listing.remove(start, done)
    return [{ path: root, rule }]
  }
  const stack = [{ row: start, path: root }]
  for (let folder = stack.pop(); folder; folder = stack.pop()) {
    const keepsFiles = exclusion.keepsFiles(folder.path)
    for (const row of listing.children(folder.row)) {
      if (keepsFiles && !listing.isFolder(row) && !listing.isHidden(row)) continue
      if (done.has(row)) continue
      const path = joinPath(folder.path, listing.name(row))
      const isFolder = listing.isFolder(row)
      const found = exclusion.ruleFor(path, isFolder)
      if (found !== undefined) {
        listing.remove(row, done)
        excluded.push({ path, rule: found })
      } else if (isFolder) stack.push({ row, path })
    }
  }
  return excluded
}

function verdict(matchers: readonly Matcher[], path: RawPath, isFolder: boolean): string | undefined {
  // The deepest file has the last word, as in git.
  for (let index = matchers.length - 1; index >= 0; index--) {
    const entry = matchers[index]
    if (!entry || path === entry.folder || !isWithin(path, entry.folder)) continue
    const relative = relativeTo(path, entry.folder)
    if (entry.mayMatch?.(relative, isFolder) === false) continue
    const result = entry.matcher.test(isFolder ? `${relative}/` : relative)
    if (result.unignored) return undefined
    if (!result.ignored || !result.rule) continue
    // The parent is kept, so a verdict that only came down from it was overruled by a deeper file.
    const slash = relative.lastIndexOf('/')
    if (slash > 0 && entry.matcher.test(`${relative.slice(0, slash)}/`).ignored) continue
    return entry.describe(result.rule)
  }
  return undefined
}

function relativeTo(path: RawPath, folder: RawPath): string {
  return folder === '/' ? path.slice(1) : path.slice(folder.length + 1)
}

const anyName = 'x' as RawName

const options = { ignorecase: false, allowRelativePaths: true }

function defaultMatcher(folder: RawPath): Matcher {
  const names = new Map<string, string>(defaultPatterns)
  const matcher = ignore(options).add(defaultPatterns.map(([pattern]) => ({ pattern })))
  return {
    folder,
    matcher,
    mayMatch: mayBeDefault,
    describe: ({ pattern }) => `default: ${names.get(pattern) ?? pattern}`,
  }
}

/** All patterns are of folders, and what lies in one goes with it; one without a slash in it means any depth; all begin with a dot. */
function mayBeDefault(relative: string, isFolder: boolean): boolean {
  if (!isFolder) return false
  const slash = relative.lastIndexOf('/')
  return relative.charCodeAt(0) === dot || relative.charCodeAt(slash + 1) === dot
}

const dot = 0x2e

function optionMatcher(patterns: readonly string[]): Matcher {
  const matcher = ignore(options).add(
    patterns.map((pattern) => ({ pattern: rawFromString(pattern), mark: pattern })),
  )
  return { folder: '/' as RawPath, matcher, describe: ({ pattern, mark }) => `--exclude ${mark ?? pattern}` }
}

function fileMatcher(folder: RawPath, content: Uint8Array): Matcher {
  const lines = Buffer.from(content).toString('latin1').split('\n')
  const matcher = ignore(options).add(
    lines.map((line, index) => ({ pattern: line.replace(/\r$/, ''), mark: String(index + 1) })),
  )
  const name = rawToUtf8(joinPath(folder, ignoreFileName)) ?? ignoreFileName
  return {
    folder,
    matcher,
    describe: ({ pattern, mark }) => `${name}:${mark ?? '?'} ${rawToUtf8(pattern as RawText) ?? pattern}`,
  }
}
