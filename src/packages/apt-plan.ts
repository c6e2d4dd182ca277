// What apt is about to do, as it tells its Pre-Install-Pkgs hooks: protocol 3 of apt.conf(5), "DPkg".
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'

export interface PlannedVersion {
  readonly version: string
  readonly architecture: string
  /** `none`, `same`, `foreign` or `allowed`. */
  readonly multiArch: string
}

export interface PlannedAction {
  readonly package: string
  /** What is installed; not there for a new package. */
  readonly before?: PlannedVersion
  /** What shall be; not there for one that goes. */
  readonly after?: PlannedVersion
  readonly change: 'up' | 'same' | 'down'
  /** One of `remove` may be a purge: apt does not tell. */
  readonly step:
    | { readonly kind: 'unpack'; readonly file: RawPath }
    | { readonly kind: 'configure' }
    | { readonly kind: 'remove' }
}

export interface AptPlan {
  /** In apt's order, with each element of a list by itself: `APT::Architectures::` may be there more than once. */
  readonly configuration: readonly { readonly name: RawText; readonly value: RawText }[]
  readonly actions: readonly PlannedAction[]
}

/** The configuration has some 500 lines, and no distribution has more than 200,000 packages, each named at most twice. */
export const aptPlanBytesMax = 64 * 1024 * 1024
const configurationLinesMax = 100_000
const actionsMax = 400_000
/** A path of 4 KiB and names of 256 characters each, with all of it written as %xx. */
const lineCharactersMax = 32 * 1024
const fieldCharactersMax = 256
const changes = { '<': 'up', '=': 'same', '>': 'down' } as const

/** `integrity.format` where it is not what apt writes, also when it was cut off within a line. */
export function parseAptPlan(bytes: Uint8Array): AptPlan {
  if (bytes.length > aptPlanBytesMax) throw malformed(`has more than ${aptPlanBytesMax} bytes`)
  const text: string = rawFromBytes(bytes)
  if (!text.endsWith('\n')) throw malformed('ends within a line')
  const lines = text.slice(0, -1).split('\n')
  const blank = lines.indexOf('')
  if (lines[0] !== 'VERSION 3') throw malformed('is not of version 3', lines[0])
  if (blank === -1) throw malformed('has no empty line after the configuration')
  if (blank > configurationLinesMax || lines.length - blank > actionsMax)
    throw malformed('has too many lines')
  return {
    configuration: lines.slice(1, blank).map(parseSetting),
    actions: lines.slice(blank + 1).map(parseAction),
  }
}

function parseSetting(line: string): AptPlan['configuration'][number] {
  const equals = line.indexOf('=')
  if (equals <= 0 || line.length > lineCharactersMax) throw malformed('has no setting', line)
  return { name: unquote(line.slice(0, equals)), value: unquote(line.slice(equals + 1)) }
}

/** `strutl.cc`, QuoteString: what apt does not write as it is comes as a per cent sign and two digits. */
function unquote(text: string): RawText {
  return asRaw(
    text.replace(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
  )
}

/** A file's path is the rest of the line, blanks and all; apt writes it as it is. */
const actionPattern =
  /^(\S+) (\S+) (\S+) (\S+) ([<=>]) (\S+) (\S+) (\S+) (\/[^\0]*|\*\*CONFIGURE\*\*|\*\*REMOVE\*\*)$/

function parseAction(line: string): PlannedAction {
  const fields = line.length > lineCharactersMax ? null : actionPattern.exec(line)
  if (fields === null) throw malformed('has no action', line)
  const [
    ,
    name = '',
    oldVersion,
    oldArchitecture,
    oldMultiArch,
    sign,
    version,
    architecture,
    multiArch,
    last,
  ] = fields
  const before = plannedVersion(oldVersion, oldArchitecture, oldMultiArch)
  const after = plannedVersion(version, architecture, multiArch)
  if (!isField(name) || (before === undefined && after === undefined)) throw malformed('has no action', line)
  return {
    package: name,
    ...(before && { before }),
    ...(after && { after }),
    change: sign === '<' || sign === '=' ? changes[sign] : changes['>'],
    step: plannedStep(last ?? ''),
  }
}

function plannedStep(last: string): PlannedAction['step'] {
  if (last === '**CONFIGURE**') return { kind: 'configure' }
  if (last === '**REMOVE**') return { kind: 'remove' }
  const file = parseRawPath(asRaw(last))
  if (file === undefined) throw malformed('has no path', last)
  return { kind: 'unpack', file }
}

function plannedVersion(version = '', architecture = '', multiArch = ''): PlannedVersion | undefined {
  if (version === '-' && architecture === '-') return undefined
  if (![version, architecture, multiArch].every(isField)) throw malformed('has no version', version)
  return { version, architecture, multiArch }
}

function isField(field: string): boolean {
  return field.length <= fieldCharactersMax && /^[\x21-\x7e]+$/.test(field)
}

function malformed(what: string, line?: string): VmlError {
  return new VmlError('integrity.format', `Cannot read what apt planned: it ${what}`, {
    ...(line === undefined ? {} : { details: { line: printable(asRaw(line.slice(0, 256))) } }),
  })
}
