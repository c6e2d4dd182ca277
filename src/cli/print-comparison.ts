// A comparison for people: summary, packages, configuration, environment, files.
import { printable } from '../base/raw-text.ts'
import type { AttributeKind, Comparison, FileChange, FileState } from '../model/compare.ts'
import type { PackageChange } from '../model/packages.ts'
import { formatBytes, formatMode, plural } from './format.ts'
import { shown } from './options.ts'
import { notComparedLines, summarizeNotCompared } from './not-compared.ts'
import type { Output } from './output.ts'
import { padEnd, table } from './style.ts'

export type DiffSection = 'packages' | 'config' | 'env' | 'files'

export interface PrintOptions {
  /** None: all of them, with the summary. */
  readonly sections: readonly DiffSection[]
  /** The changed lines to print under a change. */
  readonly linesOf: (change: FileChange) => Promise<readonly string[] | undefined>
}

const markWidth = 6
const notComparedShown = 20

export async function printComparison(
  out: Output,
  comparison: Comparison,
  options: PrintOptions,
): Promise<void> {
  const { sections } = options
  const all = sections.length === 0
  const wants = (section: DiffSection) => all || sections.includes(section)
  if (all) printSummary(out, comparison)
  if (wants('packages')) printPackages(out, comparison, all)
  if (wants('config')) await printFiles(out, 'Configuration', comparison.configuration, all, options)
  if (wants('env')) printEnvironment(out, comparison, all)
  if (wants('files')) await printFiles(out, 'Files', comparison.files, all, options)
  if (all) printNotCompared(out, comparison)
  else if (wants('config') || wants('files')) {
    const missed = summarizeNotCompared(comparison)
    if (missed !== '') out.note(`Not compared: ${missed}; see vml diff without --config and --files`)
  }
}

function printSummary(out: Output, comparison: Comparison): void {
  const { totals, packages, environment, facts } = comparison
  const parts = [
    packages?.length ? `${plural(packages.length, 'package')} changed` : '',
    environment?.length ? `${plural(environment.length, 'variable')} changed` : '',
    totals.added > 0 ? `${plural(totals.added, 'path')} added` : '',
    totals.deleted > 0 ? `${plural(totals.deleted, 'path')} deleted` : '',
    totals.changed > 0 ? `${plural(totals.changed, 'file')} changed` : '',
    totals.renamed > 0 ? `${totals.renamed} renamed` : '',
    totals.attributes > 0 ? `${plural(totals.attributes, 'path')} with other mode, owner or attributes` : '',
    totals.bytesAdded > 0 ? `+${formatBytes(totals.bytesAdded)}` : '',
    totals.bytesRemoved > 0 ? `−${formatBytes(totals.bytesRemoved)}` : '',
  ].filter((part) => part !== '')
  const missed = summarizeNotCompared(comparison)
  const what = comparison.identical
    ? missed === ''
      ? 'no difference'
      : 'nothing else differs'
    : parts.length === 0
      ? 'other facts'
      : parts.join(', ')
  const gaps = out.style.yellow(`not compared: ${missed}`)
  const headline = missed === '' ? what : comparison.identical ? `${gaps}; ${what}` : `${what}; ${gaps}`
  out.line(`${out.style.bold(`${comparison.left} → ${comparison.right}`)}  ${headline}`)
  for (const { fact, left, right } of facts)
    out.line(`  ${padEnd(fact, 12)} ${shown(left)} → ${shown(right)}`)
}

function heading(out: Output, title: string, apart: boolean): void {
  if (!apart) return
  out.line()
  out.line(out.style.bold(title))
}

function printPackages(out: Output, { packages }: Comparison, apart: boolean): void {
  if (packages === undefined) {
    if (!apart) out.note('Packages were not recorded on both sides')
    return
  }
  if (packages.length === 0) return
  heading(out, 'Packages', apart)
  const rows = packages.map((change) => [
    packageMark(out, change),
    `${shown(change.name)}:${shown(change.architecture)}`,
    'version' in change ? shown(change.version) : `${shown(change.from)} → ${shown(change.to)}`,
  ])
  for (const line of table(rows)) out.line(`  ${line}`)
}

function packageMark(out: Output, { kind }: PackageChange): string {
  if (kind === 'installed') return out.style.green('+ installed')
  if (kind === 'removed') return out.style.red('- removed')
  return kind === 'upgraded'
    ? out.style.green('↑ upgraded')
    : out.style.yellow(kind === 'downgraded' ? '↓ downgraded' : '~ changed')
}

function printEnvironment(out: Output, { environment }: Comparison, apart: boolean): void {
  if (environment === undefined) {
    if (!apart) out.note('Environment variables were not recorded on both sides')
    return
  }
  if (environment.length === 0) return
  heading(out, 'Environment', apart)
  for (const { name, left, right } of environment) {
    if (left !== undefined) out.line(`  ${out.style.red(`- ${printable(name)}=${printable(left)}`)}`)
    if (right !== undefined) out.line(`  ${out.style.green(`+ ${printable(name)}=${printable(right)}`)}`)
  }
}

async function printFiles(
  out: Output,
  title: string,
  changes: readonly FileChange[],
  apart: boolean,
  options: PrintOptions,
): Promise<void> {
  if (changes.length === 0) return
  heading(out, title, apart)
  for (const change of changes) {
    out.line(`  ${fileLine(out, change)}`)
    for (const line of (await options.linesOf(change)) ?? []) out.line(`      ${diffLine(out, line)}`)
  }
}

function fileLine(out: Output, change: FileChange): string {
  const { style } = out
  const folder = (change.right ?? change.left)?.type === 'dir' ? '/' : ''
  const path = printable(change.path) + folder
  switch (change.mark) {
    case '+':
      return style.green(`${mark('+')} ${path}${sizeOf(change.right)}`)
    case '-':
      return style.red(`${mark('-')} ${path}${sizeOf(change.left)}`)
    case 'rename': {
      const below = change.below
        ? `  (${plural(change.below.files, 'file')}, ${formatBytes(change.below.bytes)})`
        : ''
      return `${style.cyan(mark('rename'))} ${printable(change.from ?? change.path)}${folder} → ${path}${below}${attributesText(change, change.attributes)}`
    }
    case 'M':
    case 'T':
      return `${style.yellow(mark(change.mark))} ${path}${changeText(change)}${attributesText(change, change.attributes)}`
    default:
      return `${style.yellow(mark(change.mark))} ${path}${attributesText(change, [...new Set([change.mark, ...change.attributes])])}`
  }
}

function mark(text: string): string {
  return padEnd(text, markWidth)
}

function changeText({ mark, left, right }: FileChange): string {
  if (!left || !right) return ''
  if (mark === 'T') return `  ${left.type} → ${right.type}`
  if (left.linkTarget !== undefined && right.linkTarget !== undefined)
    return `  ${printable(left.linkTarget)} → ${printable(right.linkTarget)}`
  return left.size === right.size
    ? sizeOf(right)
    : `  ${formatBytes(left.size ?? 0)} → ${formatBytes(right.size ?? 0)}`
}

function attributesText({ left, right }: FileChange, kinds: readonly AttributeKind[]): string {
  if (!left || !right) return ''
  const texts = kinds.map((kind) => {
    if (kind === 'mode')
      return `${formatMode(left.type, left.mode).slice(1)} → ${formatMode(right.type, right.mode).slice(1)}`
    if (kind === 'owner') return `${ownerOf(left)} → ${ownerOf(right)}`
    return kind === 'xattrs' ? 'extended attributes' : 'time'
  })
  return texts.length === 0 ? '' : `  (${texts.join(', ')})`
}

function ownerOf({ uid, gid, user, group }: FileState): string {
  return `${user === undefined ? uid : printable(user)}:${group === undefined ? gid : printable(group)}`
}

function sizeOf(state: FileState | undefined): string {
  return state?.size === undefined ? '' : `  ${formatBytes(state.size)}`
}

function diffLine(out: Output, line: string): string {
  if (line.startsWith('+')) return out.style.green(line)
  if (line.startsWith('-')) return out.style.red(line)
  return line.startsWith('@') ? out.style.cyan(line) : line
}

function printNotCompared(out: Output, comparison: Comparison): void {
  const lines = notComparedLines(comparison)
  if (lines.length === 0) return
  heading(out, 'Not compared', true)
  const some = out.verbose ? lines : lines.slice(0, notComparedShown)
  for (const line of some) out.line(`  ${line}`)
  if (some.length < lines.length)
    out.line(out.style.dim(`  and ${lines.length - some.length} more (-v shows all)`))
}
