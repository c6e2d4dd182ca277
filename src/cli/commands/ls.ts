// `vml ls ENTRY[:/path]`: the files of an entry.
import { printable } from '../../base/raw-text.ts'
import { findEntry, listPath } from '../../engine/look.ts'
import { findStartFolder } from '../../engine/start-folder.ts'
import { baseName, isWithin, rootPath, type RawPath } from '../../model/raw-path.ts'
import type { TreeNode } from '../../model/tree.ts'
import { defineCommand, flag } from '../command.ts'
import { formatMode, formatMoment } from '../format.ts'
import { entryPathOperand } from '../options.ts'
import type { Output } from '../output.ts'
import { padEnd, padStart } from '../style.ts'

export const command = defineCommand({
  description:
    'Lists what is in a folder of an entry, or one file. Without a path: the deepest folder that holds everything, by its name where that is not the root of the machine.',
  operands: [{ ...entryPathOperand, name: 'ENTRY[:/PATH]' }],
  options: {
    long: flag('-l, --long', 'with type, mode, owner, size and time'),
    recursive: flag('-R, --recursive', 'with everything below'),
  },
  examples: [
    { line: 'vml ls 42:/home/lab --long', does: 'as ls -l had shown it then' },
    { line: 'vml ls lab@latest:/home/lab -R', does: 'every path below' },
    { line: 'vml ls @{2026-11-03}:/etc --json', does: 'the state of that day, for programs' },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out, signal } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const found = await findEntry(logbook, typed, { signal, reporter: context.reporter })
    // Programs get the root, and with --recursive whole paths are told anyway.
    const isBare = found.path === undefined && !options.recursive && !out.json
    const start = isBare ? await findStartFolder(logbook.repository, found.entry, signal) : rootPath
    const at = start === rootPath ? found : { entry: found.entry, path: start }
    if (at !== found) out.line(`${out.style.bold(printable(start))}:`)
    const documents: unknown[] = []
    for await (const { path, node } of listPath(logbook.repository, at, {
      recursive: options.recursive,
      signal,
    })) {
      if (out.json) documents.push(describeNode(path, node))
      else if (options.long)
        out.line(longLine(out, options.recursive ? path : shortName(path, at.path), node))
      else out.line(shortLine(out, options.recursive ? path : shortName(path, at.path), node))
      // What was listed reaches the reader before the next folder is read.
      if (signal.aborted) signal.throwIfAborted()
    }
    out.document({ schema: 1, entry: at.entry.id, files: documents })
  },
})

/** A path as JSON gives it: readable, and its bytes where they are no UTF-8 or not printable. */
export function describeNode(path: RawPath, node: TreeNode) {
  return {
    path: printable(path),
    raw: Buffer.from(path, 'latin1').toString('base64'),
    type: node.type,
    mode: node.mode,
    uid: node.uid,
    gid: node.gid,
    user: node.user === undefined ? null : printable(node.user),
    group: node.group === undefined ? null : printable(node.group),
    size: node.size ?? null,
    mtime: new Date(Number(node.mtimeNs / 1_000_000n)).toISOString(),
    mtime_ns: String(node.mtimeNs),
    link_target: node.linkTarget === undefined ? null : printable(node.linkTarget),
  }
}

function shortName(path: RawPath, listed: RawPath | undefined): string {
  return listed !== undefined && isWithin(listed, path) ? path : baseName(path)
}

function shortLine(out: Output, name: string, node: TreeNode): string {
  return colored(out, printable(name as RawPath), node) + (node.type === 'dir' ? '/' : '')
}

function longLine(out: Output, name: string, node: TreeNode): string {
  const owner = node.user === undefined ? String(node.uid) : printable(node.user)
  const group = node.group === undefined ? String(node.gid) : printable(node.group)
  const target = node.linkTarget === undefined ? '' : ` -> ${printable(node.linkTarget)}`
  return [
    formatMode(node.type, node.mode),
    padEnd(owner, 8),
    padEnd(group, 8),
    padStart(node.size === undefined ? '-' : String(node.size), 12),
    formatMoment(new Date(Number(node.mtimeNs / 1_000_000n))),
    `${colored(out, printable(name as RawPath), node)}${target}`,
  ].join(' ')
}

function colored(out: Output, text: string, node: TreeNode): string {
  if (node.type === 'dir') return out.style.bold(text)
  return node.type === 'symlink' ? out.style.cyan(text) : text
}
