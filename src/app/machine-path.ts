// Paths of a machine as a person types them: absolute, from `~`, or from where one stands.
import { posix } from 'node:path'
import { VmlError } from '../base/failure.ts'
import { printable, printableText, rawFromString } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { OpenMachine } from '../engine/save.ts'
import type { Machine } from '../model/machine.ts'
import { requireWorkingFolder } from './working-folder.ts'

/** On this host a relative path starts at the working folder, on another machine at the user's home. */
export function parseMachinePath(
  typed: string,
  open: OpenMachine,
  workingFolder: string | undefined,
): RawPath {
  const text = rawFromString(typed)
  const { home } = open.facts.user
  const start = () =>
    open.machine.address.kind === 'local' ? rawFromString(requireWorkingFolder({ workingFolder })) : home
  const fromHome = /^~(?=\/|$)/.test(text) ? `${home}${text.slice(1)}` : undefined
  const absolute = posix.normalize(fromHome ?? (text.startsWith('/') ? text : `${start()}/${text}`))
  const path = typed === '' ? undefined : parseRawPath(absolute as typeof text)
  if (path !== undefined) return path
  throw new VmlError('usage', `Cannot use the path "${printableText(typed)}"`, {
    hint: `Write an absolute path, or one from the home "${printable(home)}" as ~/folder`,
  })
}

/**
 * The same path as a text that means it wherever it is read again: a policy runs in another folder than it was typed in. What is empty
 * stays so, and is refused where it is used.
 */
export function keepMachinePath(
  typed: string,
  { address }: Machine,
  workingFolder: string | undefined,
): string {
  if (typed === '' || typed.startsWith('/') || /^~(?=\/|$)/.test(typed)) return typed
  return address.kind === 'local'
    ? posix.join(requireWorkingFolder({ workingFolder }), typed)
    : `~/${posix.normalize(typed)}`
}

/** `NAME=DIR` of `--cache`. */
export function parseCache(
  typed: string,
  open: OpenMachine,
  workingFolder: string | undefined,
): { name: string; path: RawPath } {
  const { name, path } = splitCache(typed)
  return { name, path: parseMachinePath(path, open, workingFolder) }
}

export function keepCache(typed: string, machine: Machine, workingFolder: string | undefined): string {
  const { name, path } = splitCache(typed)
  return `${name}=${keepMachinePath(path, machine, workingFolder)}`
}

function splitCache(typed: string): { name: string; path: string } {
  const match = /^([A-Za-z0-9][\w.-]{0,62})=(.+)$/s.exec(typed)
  if (match?.[1] !== undefined && match[2] !== undefined) return { name: match[1], path: match[2] }
  throw new VmlError('usage', `Cannot use the cache "${printableText(typed)}"`, {
    hint: 'Write NAME=DIR, such as --cache conditions=/var/cache/conditions',
  })
}

/** A tag has no comma (restic separates by it) and does not begin with VML's own prefix. */
export function parseTag(typed: string): string {
  if (/^[^,\s]{1,100}$/u.test(typed) && !typed.startsWith('vml:')) return typed
  throw new VmlError('usage', `Cannot use the tag "${printableText(typed)}"`, {
    hint: 'A tag has no comma and no space, and does not begin with vml:',
  })
}
