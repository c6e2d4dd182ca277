// What a refusal of the system means: what could not be done, whose that is, who asked, and what helps.
import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemErrorCode, VmlError } from './failure.ts'
import { describeSystemError } from './system-error.ts'

/** Undefined for what is no refusal. `action` is what could not be done: `write "/a/b"`; without it the system call says. */
export function explainDenied(error: unknown, action?: string): VmlError | undefined {
  const code = systemErrorCode(error)
  if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') return undefined
  const call = callOf(error)
  const { path, syscall } = call
  const what = action ?? `${verbs[syscall] ?? `do "${syscall}"`}${path === undefined ? '' : ` "${path}"`}`
  return new VmlError('failed', `Cannot ${what}: ${describeSystemError(code).toLowerCase()}`, {
    cause: error,
    details: { code, ...(path === undefined ? {} : { path }) },
    // Of that place alone: what was done elsewhere before, whoever asked knows.
    hint: `Nothing was changed there. ${code === 'EROFS' ? readOnlyWords : whoseWords(call)}`,
  })
}

const verbs: Readonly<Record<string, string>> = {
  mkdir: 'make the folder',
  open: 'open',
  scandir: 'list',
  lstat: 'look at',
  stat: 'look at',
  unlink: 'remove',
  rmdir: 'remove',
  rename: 'rename',
  link: 'name',
}

const readOnlyWords =
  'What it lies on is mounted to be read only: mount it for writing, or name another place'

/** For these the folders decide, whoever owns what lies in them. */
const callsOnNames: readonly string[] = ['unlink', 'rmdir', 'rename', 'link']

function whoseWords({ path, to, syscall }: Call): string {
  const uid = process.getuid?.()
  const places = [path, to].flatMap((each) => (each === undefined ? [] : [each]))
  const asked = callsOnNames.includes(syscall) ? places.map((each) => dirname(each)) : places
  const refused = asked.find((each) => !isOpenToUs(each)) ?? asked[0]
  const found = refused === undefined ? undefined : nearest(refused)
  if (uid === undefined || !found) return 'Run vml as a user who may do that, or name another place'
  const mode = (found.mode & 0o7777).toString(8)
  const whose = `"${found.path}" belongs to ${nameOf(found.uid)} and has mode ${mode}`
  if (uid === 0) return `${whose}; where even root is refused, lsattr or the server it lies on says why`
  if (found.uid === uid) return `${whose}. That is you: chmod gives you the right; or name another place`
  return `${whose}; vml runs as ${nameOf(uid)}. Run it as ${nameOf(found.uid)}, have the right given to you, or name another place`
}

function nameOf(uid: number): string {
  return uid === 0 ? 'root' : `uid ${uid}`
}

/** The path, or what of it can be looked at: behind that nobody was let in, or nothing is there. */
function nearest(
  path: string,
): { readonly path: string; readonly uid: number; readonly mode: number } | undefined {
  for (let at = path; ; at = dirname(at)) {
    try {
      const { uid, mode } = statSync(at)
      return { path: at, uid, mode }
    } catch {
      if (at === dirname(at)) return undefined
    }
  }
}

function isOpenToUs(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

interface Call {
  readonly path: string | undefined
  /** Of what gets a second name, or another one. */
  readonly to: string | undefined
  readonly syscall: string
}

function callOf(error: unknown): Call {
  const facts: Readonly<Record<string, unknown>> = { ...(typeof error === 'object' ? error : {}) }
  const textAt = (name: string) => (typeof facts[name] === 'string' ? facts[name] : undefined)
  return { path: textAt('path'), to: textAt('dest'), syscall: textAt('syscall') ?? 'this' }
}
