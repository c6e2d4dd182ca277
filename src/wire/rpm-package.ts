// What an rpm package says of itself: of a package file and of rpm's database alike, since both keep the same header.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { badRpm, type RpmHeader } from './rpm-header.ts'
import { readListedFiles, type RpmListedFile } from './rpm-listed-files.ts'
import { readRelations, type RpmRelation, type RpmRelationKind } from './rpm-relations.ts'
import { readScripts, readTriggers, type RpmScript, type RpmTrigger } from './rpm-scripts.ts'
import { rpmTag } from './rpm-tags.ts'

/** What names one installed package; the name of a package's file says nothing. */
export interface RpmIdentity {
  readonly name: RawText
  readonly epoch?: number
  readonly version: RawText
  readonly release: RawText
  readonly architecture: RawText
}

export interface RpmPackage extends RpmIdentity {
  readonly isSource: boolean
  readonly summary: RawText
  readonly description: RawText
  readonly group?: RawText
  readonly license?: RawText
  readonly vendor?: RawText
  readonly url?: RawText
  /** The file of the source package that it was built from. */
  readonly source?: RawText
  readonly buildTimeSeconds?: number
  readonly relations: Readonly<Record<RpmRelationKind, readonly RpmRelation[]>>
  readonly scripts: readonly RpmScript[]
  readonly triggers: readonly RpmTrigger[]
  readonly files: readonly RpmListedFile[]
}

export function readRpmPackage(header: RpmHeader): RpmPackage {
  const source = header.text(rpmTag.sourcePackage)
  const group = header.text(rpmTag.group)
  const license = header.text(rpmTag.license)
  const vendor = header.text(rpmTag.vendor)
  const url = header.text(rpmTag.url)
  const buildTimeSeconds = header.number(rpmTag.buildTime)
  return {
    ...readRpmIdentity(header),
    isSource: source === undefined,
    summary: header.text(rpmTag.summary) ?? asRaw(''),
    description: header.text(rpmTag.description) ?? asRaw(''),
    ...(group === undefined ? {} : { group }),
    ...(license === undefined ? {} : { license }),
    ...(vendor === undefined ? {} : { vendor }),
    ...(url === undefined ? {} : { url }),
    ...(source === undefined ? {} : { source }),
    ...(buildTimeSeconds === undefined ? {} : { buildTimeSeconds }),
    relations: readRelations(header),
    scripts: readScripts(header),
    triggers: readTriggers(header),
    files: readListedFiles(header),
  }
}

export function readRpmIdentity(header: RpmHeader): RpmIdentity {
  const [name, version, release] = [rpmTag.name, rpmTag.version, rpmTag.release].map((tag) =>
    header.text(tag),
  )
  if (!name || !version || !release) throw badRpm('it has no name, no version or no release')
  const epoch = header.number(rpmTag.epoch)
  return {
    name,
    ...(epoch === undefined ? {} : { epoch }),
    version,
    release,
    // Keys of the database have none.
    architecture: header.text(rpmTag.architecture) ?? asRaw('(none)'),
  }
}

/** `[epoch:]version-release`, as model/version-rpm.ts compares it. */
export function rpmVersion({ epoch, version, release }: RpmIdentity): string {
  return `${epoch === undefined ? '' : `${epoch}:`}${version}-${release}`
}
