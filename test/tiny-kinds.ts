// Kinds of packages that a real archive has, each with any number of versions: what differs between two of them is what the kind is about.
import type { PackagedPath, TinyKind, TinyPackage } from './tiny-packages.ts'
import { scriptedKinds } from './tiny-scripted-kinds.ts'
import { systemKinds } from './tiny-system-kinds.ts'

/** Files and fields only: no script runs. */
const plainKinds: readonly TinyKind[] = [
  {
    name: 'tiny-plain',
    packages: (version) => [
      {
        name: 'tiny-plain',
        version: String(version),
        files: {
          '/usr/bin/tiny-plain': { content: `#!/bin/sh\necho ${version}\n`, mode: 0o755 },
          '/usr/bin/tiny-plain-set': { content: `#!/bin/sh\necho ${version}\n`, mode: 0o4755 },
          '/usr/share/tiny-plain/same': 'the same in every version\n',
          '/usr/share/tiny-plain/empty': '',
          '/usr/share/tiny-plain/a name with spaces, ü and $(quotes)"\'': `${version}\n`,
          '/usr/share/tiny-plain/large': largeContent(version),
          '/usr/share/tiny-plain/link': { linkTo: version % 2 === 1 ? 'same' : 'large' },
          '/var/lib/tiny-plain': { folderMode: 0o1777 },
          ...onlyIn(version),
        },
      },
    ],
  },
  {
    name: 'tiny-conffile',
    packages: (version) => [
      {
        name: 'tiny-conffile',
        version: String(version),
        files: {
          '/etc/tiny-conffile/main.conf': configuration(version),
          '/etc/tiny-conffile/same.conf': 'same\n',
        },
        conffiles: ['/etc/tiny-conffile/main.conf', '/etc/tiny-conffile/same.conf'],
      },
    ],
  },
  {
    name: 'tiny-hardlink',
    packages: (version) => [
      {
        name: 'tiny-hardlink',
        version: String(version),
        files: {
          '/usr/bin/tiny-one': { content: `${version}\n`, mode: 0o755 },
          '/usr/bin/tiny-two': { sameAs: '/usr/bin/tiny-one' },
          // The second version has it as a file of its own.
          '/usr/lib/tiny-three': version % 2 === 1 ? { sameAs: '/usr/bin/tiny-one' } : `${version}\n`,
        },
      },
    ],
  },
  {
    name: 'tiny-chain',
    packages: (version) => [
      {
        name: 'tiny-chain',
        version: String(version),
        fields: {
          Depends: `tiny-chain-library (= ${version}), ${version === 1 ? 'tiny-chain-service' : 'tiny-chain-second'}`,
        },
        files: { '/usr/bin/tiny-chain': { content: `${version}\n`, mode: 0o755 } },
      },
      {
        name: 'tiny-chain-library',
        version: String(version),
        architecture: 'amd64',
        fields: { 'Multi-Arch': 'same' },
        files: { [`/usr/lib/x86_64-linux-gnu/libtinychain.so.${version}`]: `${version}\n` },
        control: { triggers: 'activate-noawait ldconfig\n' },
      },
      // From the second version on, another package takes the place and the file of the first.
      version === 1
        ? chainService('tiny-chain-first', {})
        : chainService('tiny-chain-second', {
            Conflicts: 'tiny-chain-first',
            Replaces: 'tiny-chain-first',
          }),
    ],
  },
]

export const tinyKinds: readonly TinyKind[] = [...plainKinds, ...scriptedKinds, ...systemKinds]

/** What to ask apt for so that it takes exactly this version, also where that is a downgrade. */
export function exactly(kind: TinyKind, version: number): string[] {
  return kind.packages(version).map((described) => `${described.name}=${described.version}`)
}

function chainService(name: string, fields: TinyPackage['fields']): TinyPackage {
  return {
    name,
    version: '1',
    fields: { Provides: 'tiny-chain-service', ...fields },
    files: { '/usr/sbin/tiny-chain-service': `${name}\n` },
  }
}

/** A path that one version brings and the next one drops. */
function onlyIn(version: number): Record<string, PackagedPath> {
  return { [`/usr/share/tiny-plain/only/${version}/file`]: `${version}\n` }
}

/** Lines of which few differ: what a delta is good for. */
function largeContent(version: number): string {
  return Array.from(
    { length: 5000 },
    (_, line) => `line ${line % 1000 === 0 ? version : 0} of ${line}\n`,
  ).join('')
}

function configuration(version: number): string {
  return `# made for a test\n[main]\nversion = ${version}\nsame = yes\n\n[other]\ncolour = blue\n`
}
