// `vml share`: one entry into a small logbook of its own, after a look for secrets.
import type { Reporter } from '../base/progress.ts'
import { printable, type RawText } from '../base/raw-text.ts'
import { VmlError } from '../base/failure.ts'
import type { EntryDocument, Snapshot } from '../model/entry.ts'
import { isWithin, type RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repository } from '../store/store.ts'
import { copyTree, type TreeEdit } from './copy-tree.ts'
import { joinDescription, type LoggedEntry } from './entries.ts'
import { rawPathOf } from './protection.ts'
import {
  scanFileName,
  scannedBytesMax,
  scanText,
  scanVariable,
  scrubHistory,
  type SecretFinding,
} from './secret-scan.ts'
import { walkTree } from './tree-reader.ts'
import { documentPath, vmlPath } from './vml-path.ts'

export interface ShareQuestion {
  readonly repository: Repository
  readonly entry: LoggedEntry
  /** Shares hold entries of VML; another program's snapshot has no documents to hand over. */
  readonly document: EntryDocument
  /** Cache parts stay here. */
  readonly withoutCaches: boolean
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface SharePlan {
  readonly question: ShareQuestion
  readonly findings: readonly SecretFinding[]
  readonly files: number
  readonly bytes: number
  /** Files as they would be after `--scrub`, where they would change. */
  readonly scrubbed: ReadonlyMap<RawPath, Buffer>
}

const environmentPath = '/.vml/environment.json' as RawPath
const historyFolder = '/.vml/history' as RawPath
const historyNames =
  /\/\.(?:bash_history|zsh_history|histfile|sh_history|ash_history|python_history|mysql_history|psql_history)$|\/fish_history$/

/** Reads everything that will go along and looks for secrets in it; writes nothing. */
export async function planShare(question: ShareQuestion): Promise<SharePlan> {
  const { repository, entry, signal, reporter } = question
  const findings: SecretFinding[] = []
  const scrubbed = new Map<RawPath, Buffer>()
  const without = leftOut(question)
  let files = 0
  let bytes = 0
  for await (const { path, node } of walkTree(repository, entry.snapshot.tree, { signal })) {
    if (node.type !== 'file' || without.some((part) => isWithin(path, part))) continue
    if (path !== documentPath) await scanFile({ question, path, node, findings, scrubbed })
    files++
    bytes += node.size ?? 0
    reporter.progress({ phase: 'looking for secrets', filesDone: files, bytesDone: bytes })
  }
  return { question, findings, files, bytes, scrubbed }
}

/** `conflict` when secrets were found and the user decided nothing about them. */
export function refuseSecrets(plan: SharePlan, decided: 'scrub' | 'keep' | 'undecided'): void {
  if (decided !== 'undecided' || plan.findings.length === 0) return
  const shown = plan.findings.slice(0, 20).map(describeFinding)
  const more =
    plan.findings.length > shown.length ? `\n  … and ${plan.findings.length - shown.length} more` : ''
  throw new VmlError(
    'conflict',
    `Cannot share without a word on ${plan.findings.length} ${plan.findings.length === 1 ? 'secret' : 'secrets'} found in it`,
    {
      details: { findings: shown },
      hint: `Nothing was written. Add --scrub to leave them out, or --with-secrets to share them as they are:\n  ${shown.join('\n  ')}${more}`,
    },
  )
}

export function describeFinding({ where, path, name, line, what }: SecretFinding): string {
  if (where === 'variable') return `variable ${name ?? ''}: ${what}`
  return `${path === undefined ? '' : printable(path)}${line === undefined ? '' : `:${line}`}: ${what}`
}

/** Copies the entry; its id, number, title and time stay what they are. */
export async function runShare(
  plan: SharePlan,
  options: { readonly target: Repository; readonly scrub: boolean },
): Promise<Snapshot> {
  const { repository, entry, reporter, signal } = plan.question
  const writer = await options.target.beginWrite({ signal })
  await using _closing = writer
  const edit = await editOf(plan, options.scrub)
  const tree = await copyTree({ from: repository, writer, tree: entry.snapshot.tree, edit, reporter, signal })
  const { parent: _parent, id: _id, ...kept } = entry.snapshot
  return await writer.commit(
    {
      ...kept,
      tree,
      // Its entry's id, so that it is the same entry wherever it goes.
      original: entry.snapshot.original ?? entry.snapshot.id,
      description: joinDescription(entry),
    },
    { signal },
  )
}

async function scanFile(at: {
  question: ShareQuestion
  path: RawPath
  node: TreeNode
  findings: SecretFinding[]
  scrubbed: Map<RawPath, Buffer>
}): Promise<void> {
  const { question, path, node, findings, scrubbed } = at
  const byName = scanFileName(path)
  if (byName !== undefined && !isWithin(path, vmlPath)) {
    findings.push({ where: 'file', path, what: byName })
    return
  }
  const isHistory = isWithin(path, historyFolder) || historyNames.test(path)
  if ((node.size ?? 0) > scannedBytesMax && !isHistory) return
  const content = await readWhole(question, node)
  if (path === environmentPath) await scanEnvironment(content, findings, scrubbed)
  else if (isHistory) {
    const { content: clean, removed } = scrubHistory(content)
    for (const { line, what } of removed) findings.push({ where: 'history', path, line, what })
    if (removed.length > 0) scrubbed.set(path, clean)
  } else {
    const found = scanText(content.toString('latin1'))
    if (found) findings.push({ where: 'file', path, ...found })
  }
}

async function scanEnvironment(
  content: Buffer,
  findings: SecretFinding[],
  scrubbed: Map<RawPath, Buffer>,
): Promise<void> {
  const { encodeEnvironment, parseEnvironment } = await import('../model/documents.ts')
  const kept = new Map<RawText, RawText>()
  const variables = parseEnvironment(content)
  for (const [name, value] of variables) {
    const what = scanVariable(name, value)
    if (what === undefined) kept.set(name, value)
    else findings.push({ where: 'variable', name: printable(name), what })
  }
  if (kept.size < variables.size) scrubbed.set(environmentPath, encodeEnvironment(kept))
}

async function readWhole({ repository, signal }: ShareQuestion, node: TreeNode): Promise<Buffer> {
  const parts: Buffer[] = []
  for (const id of node.content ?? []) parts.push(await repository.readBlob(id, { signal }))
  return Buffer.concat(parts)
}

/** What is left out stands in the entry as excluded, so that no restore takes the receiver's own away. */
async function editOf(plan: SharePlan, scrub: boolean): Promise<TreeEdit> {
  const { question, findings, scrubbed } = plan
  const dropped = new Map<RawPath, string>()
  for (const path of leftOut(question)) dropped.set(path, 'left out by vml share --without-cache')
  if (scrub) {
    for (const { where, path, what } of findings) {
      if (where === 'file' && path !== undefined) dropped.set(path, `left out by vml share --scrub: ${what}`)
    }
  }
  const document = await editedDocument(plan, dropped)
  return (path) => {
    if (dropped.has(path)) return 'drop'
    if (path === documentPath) return document ? { bytes: document } : 'keep'
    const clean = scrub ? scrubbed.get(path) : undefined
    return clean ? { bytes: clean } : 'keep'
  }
}

async function editedDocument(
  { question }: SharePlan,
  dropped: ReadonlyMap<RawPath, string>,
): Promise<Buffer | undefined> {
  if (dropped.size === 0) return undefined
  const { document } = question
  const { encodeEntryDocument } = await import('../model/documents.ts')
  const excluded = [...dropped].map(([path, rule]) => ({
    path: printable(path),
    raw: Buffer.from(path, 'latin1').toString('base64'),
    rule,
  }))
  return encodeEntryDocument({
    ...document,
    excluded: [...document.excluded, ...excluded],
    caches: question.withoutCaches ? [] : document.caches,
  })
}

function leftOut({ document, withoutCaches }: ShareQuestion): RawPath[] {
  return withoutCaches ? document.caches.flatMap(({ raw }) => rawPathOf(raw) ?? []) : []
}
