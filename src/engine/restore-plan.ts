// What a restore would change, as a value: pure, exact, printable. Running it is another file's business.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { outermost, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import { linkKey, orderLinks } from './restore-links.ts'
import { isSettled, sameTime } from './unchanged.ts'

export type Overwrite = 'always' | 'if-changed' | 'if-newer' | 'never'

/** One path as the entry has it, already under the name that it gets on the target. */
export interface WantedPath {
  readonly path: RawPath
  readonly node: TreeNode
}

export interface RestoreQuestion {
  /** Parents before children. */
  readonly wanted: Iterable<WantedPath>
  /** What stands on the target now: every path below the restored ones, and the folders above them. */
  readonly present: ReadonlyMap<RawPath, Attributes>
  readonly overwrite: Overwrite
  readonly remove: boolean
  /** Folders (or files) of the target within which `remove` takes away what the entry does not have. */
  readonly scope: readonly RawPath[]
  /** The rule that forbids removing a path, or undefined. */
  readonly protectedBy: (path: RawPath, attributes: Attributes) => string | undefined
  /** Ids that the entry recorded can be given to files: root on the target. Otherwise owners stay as they come. */
  readonly owners: boolean
  readonly timeResolutionNs: number
  /** Same machine and no renaming: equal ctime and inode prove that a path was not touched. */
  readonly sameMachine: boolean
  /** A path whose ctime is not before this may have changed in the same tick of the clock as it was saved. */
  readonly settledBeforeNs: bigint
  /** Extended attributes can be read on the target. */
  readonly attributesTold: boolean
  /** The target's tools set and tell the times of links. */
  readonly linkTimes: boolean
}

export type Reason = 'missing' | 'content' | 'type' | 'mode' | 'owner' | 'time' | 'link' | 'folder'

export interface PlannedWrite {
  readonly path: RawPath
  readonly node: TreeNode
  readonly reason: Reason
  /** For another name of a file that this plan writes first. */
  readonly hardLinkTo?: RawPath
}

export interface RestorePlan {
  /** Parents before children. */
  readonly writes: readonly PlannedWrite[]
  /** Deepest first; made way for by a path of another type, or not in the entry. */
  readonly removals: readonly { readonly path: RawPath; readonly why: 'not-in-entry' | 'type' }[]
  /** Nothing that a listing tells differs, but they are not proven equal: compared on the target before the plan is final. */
  readonly doubtful: readonly { readonly path: RawPath; readonly node: TreeNode }[]
  readonly kept: readonly { readonly path: RawPath; readonly rule: string }[]
  /** Differ, and stay as they are because of `overwrite`. */
  readonly left: readonly { readonly path: RawPath; readonly why: string }[]
  readonly counts: {
    readonly created: number
    readonly replaced: number
    readonly removed: number
    readonly unchanged: number
  }
  readonly bytes: number
}

/** Compares wish and presence. `conflict` when a folder with content stands where a file goes and nothing may be removed. */
export function planRestore(question: RestoreQuestion): RestorePlan {
  const state: State = {
    question,
    writes: [],
    doubtful: [],
    left: [],
    blocked: new Set(),
    kept: [],
    removals: new Map(),
    wanted: new Set(),
    unchanged: 0,
  }
  const children = childrenOf(question.present)
  for (const each of question.wanted) decide(state, each, children)
  if (question.remove) planRemovals(state, children)
  joinLinks(state)
  withTouchedFolders(state)
  return finishPlan(state)
}

interface State {
  readonly question: RestoreQuestion
  readonly writes: { path: RawPath; node: TreeNode; reason: Reason }[]
  readonly doubtful: WantedPath[]
  readonly left: { path: RawPath; why: string }[]
  /** Stand where the entry has a folder, and stay: nothing of the entry can go below them. */
  readonly blocked: Set<RawPath>
  readonly kept: { path: RawPath; rule: string }[]
  readonly removals: Map<RawPath, 'not-in-entry' | 'type'>
  /** Of all that is wanted, where anything is removed. */
  readonly wanted: Set<RawPath>
  unchanged: number
}

type Children = ReadonlyMap<RawPath, readonly RawPath[]>

function childrenOf(present: ReadonlyMap<RawPath, Attributes>): Children {
  const children = new Map<RawPath, RawPath[]>()
  for (const path of present.keys()) {
    if (path === rootPath) continue
    const siblings = children.get(parentPath(path))
    if (siblings) siblings.push(path)
    else children.set(parentPath(path), [path])
  }
  return children
}

function decide(state: State, { path, node }: WantedPath, children: Children): void {
  const { question } = state
  if (question.remove) state.wanted.add(path)
  if (state.blocked.has(parentPath(path))) {
    state.blocked.add(path)
    state.left.push({ path, why: 'something else stands where its folder was' })
    return
  }
  const now = question.present.get(path)
  if (!now || state.removals.has(parentPath(path))) {
    state.writes.push({ path, node, reason: 'missing' })
    return
  }
  if (now.type !== node.type) {
    if (mayReplace(state, path, node, now)) makeWay(state, path, node, children)
    else state.blocked.add(path)
    return
  }
  const reason = difference(node, now, question)
  if (reason === undefined) {
    state.unchanged++
    return
  }
  if (node.type === 'dir' && reason !== 'doubt') {
    if (question.overwrite === 'never') state.left.push({ path, why: 'exists' })
    else state.writes.push({ path, node, reason })
    return
  }
  if (!mayReplace(state, path, node, now)) return
  if (reason === 'doubt') state.doubtful.push({ path, node })
  else state.writes.push({ path, node, reason })
}

function mayReplace(state: State, path: RawPath, node: TreeNode, now: Attributes): boolean {
  const { overwrite } = state.question
  if (overwrite === 'never') state.left.push({ path, why: 'exists' })
  else if (overwrite === 'if-newer' && node.mtimeNs <= now.mtimeNs)
    state.left.push({ path, why: 'not older than the entry' })
  else return true
  return false
}

/** What stands in the way is removed first: a link is never followed, a folder never written through. */
function makeWay(state: State, path: RawPath, node: TreeNode, children: Children): void {
  const { question } = state
  const doomed = [path, ...below(path, children)]
  const rule = doomed.map((each) => ruleFor(question, each)).find((each) => each !== undefined)
  if (rule !== undefined || (doomed.length > 1 && !question.remove)) {
    const stands = doomed.length > 1 ? 'a folder with content' : `a ${question.present.get(path)?.type}`
    throw new VmlError(
      'conflict',
      `Cannot put a ${node.type} at "${printable(path)}": ${stands} stands there`,
      {
        hint:
          rule === undefined
            ? 'Nothing was changed. Add --delete to let it go, or restore elsewhere with --to'
            : `Nothing was changed. It is never removed (${rule}): move it away first, or restore elsewhere with --to`,
      },
    )
  }
  for (const each of doomed) state.removals.set(each, 'type')
  state.writes.push({ path, node, reason: 'type' })
}

function ruleFor(question: RestoreQuestion, path: RawPath): string | undefined {
  const attributes = question.present.get(path)
  return attributes && question.protectedBy(path, attributes)
}

function* below(path: RawPath, children: Children): Iterable<RawPath> {
  const stack = [...(children.get(path) ?? [])]
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    yield item
    stack.push(...(children.get(item) ?? []))
  }
}

function difference(
  node: TreeNode,
  now: Attributes,
  question: RestoreQuestion,
): Reason | 'doubt' | undefined {
  const resolution = BigInt(Math.max(question.timeResolutionNs, 1))
  const isLink = node.type === 'symlink'
  if (!isLink && node.mode !== now.mode) return 'mode'
  if (question.owners && (node.uid !== now.uid || node.gid !== now.gid)) return 'owner'
  if (isLink && node.linkTarget !== now.linkTarget) return 'link'
  if (isLink) {
    return question.linkTimes && !sameTime(node.mtimeNs, now.mtimeNs, resolution) ? 'time' : undefined
  }
  if (node.type === 'file' && node.size !== now.size) return 'content'
  if (!sameTime(node.mtimeNs, now.mtimeNs, resolution)) return 'time'
  if (question.sameMachine && untouched(node, now, resolution, question.settledBeforeNs)) return undefined
  if (question.overwrite === 'if-changed') return undefined
  // What a listing does not tell: attributes, device numbers, content.
  if (node.type === 'dev' || node.type === 'chardev') return 'doubt'
  if (question.attributesTold && (node.type === 'file' || node.type === 'dir')) return 'doubt'
  return node.type === 'file' && node.size !== 0 ? 'doubt' : undefined
}

function untouched(node: TreeNode, now: Attributes, resolution: bigint, settledBeforeNs: bigint): boolean {
  if (node.ctimeNs === undefined || now.ctimeNs === undefined || node.inode === undefined) return false
  if (!isSettled(node.ctimeNs, settledBeforeNs)) return false
  return node.inode === now.inode && sameTime(node.ctimeNs, now.ctimeNs, resolution)
}

function planRemovals(state: State, children: Children): void {
  const { question } = state
  for (const root of outermost(question.scope)) {
    for (const path of deepestFirst([...below(root, children)])) {
      if (state.wanted.has(path) || state.removals.has(path)) continue
      const rule = ruleFor(question, path)
      if (rule !== undefined) {
        state.kept.push({ path, rule })
        continue
      }
      // A folder stays as long as something in it stays.
      const stays = (children.get(path) ?? []).some((child) => !state.removals.has(child))
      if (stays) state.kept.push({ path, rule: 'something in it is kept' })
      else state.removals.set(path, 'not-in-entry')
    }
  }
}

function deepestFirst<T extends RawPath>(paths: T[]): T[] {
  // A child sorts after its parent bytewise, so the reverse puts it first.
  return paths.sort((a, b) => (a < b ? 1 : a > b ? -1 : 0))
}

/** Changing what is in a folder changes its time: such folders are written again, last, with their recorded one. */
function withTouchedFolders(state: State): void {
  const touched = new Set<RawPath>()
  for (const { path } of state.writes) touched.add(parentPath(path))
  for (const path of state.removals.keys()) touched.add(parentPath(path))
  for (const { path } of state.doubtful) touched.add(parentPath(path))
  if (touched.size === 0) return
  const written = new Set<RawPath>()
  for (const { path, node } of state.writes) if (node.type === 'dir') written.add(path)
  for (const { path, node } of state.question.wanted) {
    if (node.type === 'dir' && touched.has(path) && !written.has(path)) {
      state.writes.push({ path, node, reason: 'folder' })
    }
  }
}

function finishPlan(state: State): RestorePlan {
  const writes: PlannedWrite[] = [...state.writes]
  writes.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const removals = [...state.removals].map(([path, why]) => ({ path, why }))
  removals.sort((a, b) => (a.path < b.path ? 1 : -1))
  const contents = writes.filter((each) => each.reason !== 'folder')
  // A folder that is there for the sake of what lies in it may go out of the plan again: its own doubt stays.
  const doubtful = new Set(state.doubtful.map(({ path }) => path))
  for (const { path } of contents) doubtful.delete(path)
  return {
    writes: orderLinks(writes),
    removals,
    doubtful: state.doubtful.filter(({ path }) => doubtful.has(path)),
    kept: state.kept,
    left: state.left,
    counts: {
      created: contents.filter((each) => each.reason === 'missing').length,
      replaced: contents.filter((each) => each.reason !== 'missing').length,
      removed: removals.filter((each) => each.why === 'not-in-entry').length,
      unchanged: state.unchanged,
    },
    bytes: contents.reduce((sum, each) => sum + (each.node.type === 'file' ? (each.node.size ?? 0) : 0), 0),
  }
}

/** Names of one file are written together or not at all, so that they are one file again afterwards. */
function joinLinks(state: State): void {
  const { wanted, present, overwrite } = state.question
  const groups = new Map<string, WantedPath[]>()
  const standing = new Map<string, WantedPath[]>()
  for (const each of wanted) {
    const key = linkKey(each.node)
    if (key !== undefined) pushTo(groups, key, each)
    const now = present.get(each.path)
    if (now?.type === 'file' && now.inode !== undefined && (now.links ?? 2) > 1)
      pushTo(standing, `${now.deviceId ?? 0n}:${now.inode}`, each)
  }
  if (![...groups.values(), ...standing.values()].some((group) => group.length > 1)) return
  const planned = new Set(state.writes.map(({ path }) => path))
  const left = new Set(state.left.map(({ path }) => path))
  const doubtful = new Set(state.doubtful.map(({ path }) => path))
  const add = ({ path, node }: WantedPath) => {
    if (planned.has(path) || left.has(path)) return
    if (present.has(path) && overwrite === 'never') return
    planned.add(path)
    state.writes.push({ path, node, reason: 'link' })
    if (present.has(path) && !doubtful.has(path)) state.unchanged--
  }
  for (const group of groups.values()) {
    if (group.length < 2) continue
    if (!group.some(({ path }) => planned.has(path)) && areOneFile(state, group)) continue
    for (const each of group) add(each)
  }
  // Files that became one since are told apart again.
  for (const group of standing.values()) {
    const keys = new Set(group.map(({ node, path }) => linkKey(node) ?? path))
    if (keys.size < 2) continue
    for (const each of group) add(each)
  }
}

function pushTo(groups: Map<string, WantedPath[]>, key: string, each: WantedPath): void {
  const group = groups.get(key)
  if (group) group.push(each)
  else groups.set(key, [each])
}

/** Whether the names of one file are one file on the target too. */
function areOneFile(state: State, group: readonly WantedPath[]): boolean {
  const inodes = new Set(group.map(({ path }) => state.question.present.get(path)?.inode))
  return inodes.size === 1
}

export function isEmptyPlan(plan: RestorePlan): boolean {
  return plan.writes.length === 0 && plan.removals.length === 0 && plan.doubtful.length === 0
}

/** Paths that the plan changes or deletes and that are there now: what the safety entry must hold. */
export function endangeredPaths(plan: RestorePlan, present: ReadonlyMap<RawPath, Attributes>): RawPath[] {
  const paths = new Set<RawPath>()
  for (const { path } of plan.writes) if (present.has(path)) paths.add(path)
  for (const { path } of plan.removals) if (present.has(path)) paths.add(path)
  return [...paths].sort()
}
