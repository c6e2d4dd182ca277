// What is not VML's own says whether it worked: tar and sha256sum of the guests, getfattr, getfacl, restic.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runProgram, shellWord, type Stage } from './computer.ts'

export interface Check {
  readonly name: string
  readonly passed: boolean
  readonly detail: string
}

/** Runs a command line in a guest, over plain ssh. */
export type Ssh = (
  command: string,
  input?: Uint8Array,
) => Promise<{ readonly status: number; readonly bytes: Buffer; readonly output: string }>

/** A guest's own words on a state of it. */
export interface Reference {
  readonly tar: Buffer
  readonly sums: Buffer
  readonly attributes: string
  readonly result: string
}

/** Names as tar has them, below `/`. */
const trees = 'home/lab opt/fit'
const attributesCommand = `cd / && getfattr -R -h -d -m - ${trees} && getfacl -R -P -n ${trees}`
const resultCommand = './analysis/run'

export async function writeReference(ssh: Ssh): Promise<Reference> {
  const tar = await well(ssh, `tar -C / --sparse -cf - ${trees}`)
  const sums = await well(ssh, `cd / && find ${trees} -type f -exec sha256sum {} +`)
  const attributes = await well(ssh, attributesCommand)
  const result = await well(ssh, resultCommand)
  return { tar, sums, attributes: inOrder(attributes.toString()), result: result.toString().trim() }
}

/** In the second guest; `deleted` is a path that the entry no longer has. */
export async function compareGuest(ssh: Ssh, reference: Reference, deleted: string): Promise<Check[]> {
  const tar = await ssh('tar -C / -df - && echo equal', reference.tar)
  const sums = await ssh('cd / && sha256sum -c', reference.sums)
  const attributes = inOrder((await ssh(attributesCommand)).output)
  const result = await ssh(resultCommand)
  const absent = await ssh(`[ ! -e ${deleted} ] && [ ! -L ${deleted} ]`)
  const files = sums.output.split('\n').filter((line) => line.endsWith(': OK')).length
  const wanted = reference.sums.toString().trimEnd().split('\n').length
  return [
    {
      name: 'tar -d',
      passed: tar.status === 0 && tar.output.trim() === 'equal',
      detail:
        tar.status === 0 ? 'contents, types, modes, owners, times, links equal' : firstLines(tar.output),
    },
    {
      name: 'sha256sum -c',
      passed: sums.status === 0 && files === wanted,
      detail: `${files} of ${wanted} files equal`,
    },
    {
      name: 'getfattr, getfacl',
      passed: attributes === reference.attributes,
      detail: describeDifference(reference.attributes, attributes),
    },
    {
      name: 'deleted file',
      passed: absent.status === 0,
      detail: `${deleted} is ${absent.status === 0 ? 'absent' : 'there'}`,
    },
    {
      name: 'same result',
      passed: result.status === 0 && result.output.trim() === reference.result,
      detail: result.output.trim(),
    },
  ]
}

/** `restic check --read-data` reads every byte of the logbook. */
export async function checkWithRestic(
  stage: Stage,
  { logbook, passwordFile, cache }: { logbook: string; passwordFile: string; cache: string },
): Promise<Check> {
  const program = resticProgram()
  const words = ['--repo', logbook, '--password-file', passwordFile, 'check', '--read-data']
  stage.print(`\n  $ restic ${words.map(shellWord).join(' ')}`)
  const { status, output } = await runProgram(stage, {
    argv: [program, ...words],
    env: { PATH: process.env['PATH'] ?? '', HOME: cache, RESTIC_CACHE_DIR: join(cache, 'restic') },
    mergeErrors: true,
  })
  const version = /restic (\S+)/.exec(execFileSync(program, ['version'], { encoding: 'utf8' }))?.[1]
  const isClean = status === 0 && output.includes('no errors were found')
  stage.print(`    ${lastLine(output)}`)
  return {
    name: `restic ${version ?? ''} check`,
    passed: isClean,
    detail: isClean ? 'every byte of the logbook read, no errors were found' : firstLines(output),
  }
}

/** The newest that tools/setup has fetched, else Debian's. */
function resticProgram(): string {
  const setup = join(import.meta.dirname, '../setup')
  const places: unknown = JSON.parse(execFileSync(setup, ['--print'], { encoding: 'utf8' }))
  const newest = typeof places === 'object' && places !== null ? { ...places } : {}
  const program = 'restic019' in newest ? String(newest.restic019) : ''
  return existsSync(program) ? program : 'restic'
}

async function well(ssh: Ssh, command: string): Promise<Buffer> {
  const { status, bytes, output } = await ssh(command)
  if (status !== 0) throw new Error(`In the guest, this ended with ${status}: ${command}\n${output}`)
  return bytes
}

/** One paragraph for each file; they come in the order of the folder on disk. */
function inOrder(text: string): string {
  return text.trim().split('\n\n').toSorted().join('\n\n')
}

function describeDifference(before: string, after: string): string {
  if (before === after) return 'extended attributes and access lists equal'
  const known = new Set(before.split('\n'))
  const other = after.split('\n').filter((line) => !known.has(line))
  return `they differ: ${firstLines(other.join('\n'))}`
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}

function firstLines(text: string): string {
  return text.trim().split('\n').slice(0, 5).join('; ')
}
