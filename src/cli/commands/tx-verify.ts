// `vml tx verify` and `vml tx owner`: whether files are as their packages brought them, and whose a file is.
import {
  type DivertedFrom,
  findOwners,
  isThere,
  managerHere,
  type Owner,
  pathOfWord,
  verifyPackages,
} from '../../app/package-questions.ts'
import { VmlError } from '../../base/failure.ts'
import { printable } from '../../base/raw-text.ts'
import { defineCommand, flag } from '../command.ts'
import { plural } from '../format.ts'
import { shown } from '../options.ts'

const foundStatus = 1

export const verify = defineCommand({
  description:
    'Compares the files of installed packages with what the packages brought, by the checksums that dpkg or rpm keeps. Says what is missing or has another content; ends with 1 where that is something else than configuration. Rights and owners are compared on a system of rpm alone: dpkg keeps none.',
  operands: [
    { name: 'PACKAGE', description: 'of these packages; all', required: false, many: true, complete: 'none' },
  ],
  options: { configuration: flag('--configuration', 'tell of configuration that was changed, too') },
  examples: [
    { line: 'vml tx verify', does: 'all packages' },
    { line: 'vml tx verify libc6 nginx', does: 'these two' },
    { line: 'vml tx verify --json', does: 'with all that differs, for programs' },
  ],
  async run(context, { operands, options }) {
    const { out, signal } = context
    context.whenCancelled('nothing was changed')
    const findings = []
    const unknown: string[] = []
    const asked = { signal, unknown: (name: string) => void unknown.push(name) }
    for await (const finding of verifyPackages(operands, asked)) {
      if (finding.problems.length === 0) continue
      findings.push(finding)
    }
    out.document({
      schema: 1,
      not_installed: unknown,
      files: findings.map(({ path, package: owner, isConfiguration, problems }) => ({
        path: printable(path),
        package: owner === '' ? null : owner,
        configuration: isConfiguration,
        problems,
      })),
    })
    const told = findings.filter(({ isConfiguration }) => options.configuration || !isConfiguration)
    for (const { path, package: owner, problems } of told)
      out.line(
        `${problems.join(', ').padEnd(10)}  ${printable(path)}${owner === '' ? '' : `  ${shown(owner)}`}`,
      )
    const wrong = findings.filter(({ isConfiguration }) => !isConfiguration).length
    const configuration = findings.length - wrong
    // Nothing was compared.
    if (unknown.length > 0 && unknown.length === operands.length) throw notInstalled(unknown)
    const isDpkg = managerHere() === 'dpkg'
    const allWell = isDpkg
      ? 'Every file has the content that its package brought'
      : 'Every file is as its package brought it'
    const rest = isDpkg && wrong === 0 ? '; rights and owners were not compared: dpkg keeps none' : ''
    out.note(
      `${wrong === 0 ? allWell : `${plural(wrong, 'file')} ${wrong === 1 ? 'is' : 'are'} not as the package brought ${wrong === 1 ? 'it' : 'them'}`}${configuration > 0 ? `; ${plural(configuration, 'file')} of configuration changed` : ''}${rest}`,
    )
    if (unknown.length > 0) throw notInstalled(unknown)
    return wrong === 0 ? 0 : foundStatus
  },
})

function notInstalled(names: readonly string[]): VmlError {
  const all = names.map((name) => `"${shown(name)}"`).join(', ')
  return new VmlError(
    'not-found',
    `Cannot verify ${all}: ${names.length === 1 ? 'it is' : 'they are'} not installed`,
    { details: { packages: names } },
  )
}

function ownersText(owners: readonly Owner[]): string {
  return owners.map(({ package: name, version }) => `${shown(name)} ${shown(version)}`.trim()).join(', ')
}

/** As `dpkg -S` tells it, too: whose the path would be, and where that lies. */
function diversionText({ by, to, owners }: DivertedFrom): string {
  const whose = owners.length === 0 ? 'what packages bring there' : ownersText(owners)
  return `; diverted${by === undefined ? '' : ` by ${shown(by)}`} to ${printable(to)}: ${whose}`
}

export const owner = defineCommand({
  description: 'Tells which package a path belongs to, diversions and the merged /usr taken into account.',
  operands: [{ name: 'PATH', description: 'a path', required: true, many: true, complete: 'file' }],
  options: {},
  examples: [
    { line: 'vml tx owner /usr/bin/perl', does: 'its package and version' },
    { line: 'vml tx owner /bin/ls /etc/hosts', does: 'of several' },
    { line: 'vml tx owner /usr/lib --json', does: 'all that share a folder, for programs' },
  ],
  async run(context, { operands }) {
    const { out, signal, config } = context
    const paths = operands.map((word) => {
      const path = pathOfWord(word, config)
      if (path !== undefined) return path
      throw new VmlError('usage', `Cannot take "${printable(word as never)}" for a path`)
    })
    const owners = await findOwners(paths, signal)
    out.document({
      schema: 1,
      paths: [...owners].map(([path, { owners: some, diversion }]) => ({
        path: printable(path),
        owners: some,
        exists: isThere(path),
        diversion: diversion
          ? { by: diversion.by ?? null, to: printable(diversion.to), owners: diversion.owners }
          : null,
      })),
    })
    let unowned = 0
    for (const [path, { owners: some, diversion }] of owners) {
      if (some.length === 0) unowned++
      const nobody =
        isThere(path) || diversion !== undefined ? 'no package' : 'no such path, here or in any package'
      out.line(
        `${printable(path)}  ${some.length === 0 ? nobody : ownersText(some)}${diversion === undefined ? '' : diversionText(diversion)}`,
      )
    }
    return unowned === 0 ? 0 : foundStatus
  },
})
