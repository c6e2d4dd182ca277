// A service whose data has another form in each version of its package, as databases have, and a machine that has upgraded it.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Chroot, openChroot } from './chroot.ts'
import { openPackageArchive } from './package-archive.ts'
import type { TinyPackage } from './tiny-packages.ts'
import { apt, transactionsOf } from './transaction-bed.ts'

/** `tiny-data add ROW`, `dump` and `load` fail on data of another form, as the program of that version would. */
export function tinyData(version: number): TinyPackage {
  return {
    name: 'tiny-data',
    version: String(version),
    files: { '/usr/bin/tiny-data': { content: program(version), mode: 0o755 } },
    scripts: {
      postinst: `cd /var/lib; mkdir -p tiny-data; touch tiny-data/rows
! [ -e tiny-data/form ] || sed -i "s/^$(cat tiny-data/form):/${version}:/" tiny-data/rows
echo ${version} >tiny-data/form`,
      postrm: `[ "$1" != purge ] || rm -rf /var/lib/tiny-data`,
    },
  }
}

const program = (version: number) => `#!/bin/sh
set -e
cd /var/lib/tiny-data
form() { [ "$(cat form)" = ${version} ] || { echo "data of form $(cat form) is none of mine" >&2; exit 9; }; }
case $1 in
  add) form; echo "${version}:$2" >>rows ;;
  dump) form; sed 's/^${version}://' rows ;;
  load) echo ${version} >form; sed 's/^/${version}:/' >rows ;;
esac
`

export const tinyDataHook = {
  package: 'tiny-*',
  data: ['/var/lib/tiny-*'],
  export: 'tiny-data dump',
  import: 'tiny-data load',
}

/** Version 1 with the row `one`, upgraded to 2 by the newest transaction, which is `number`; then nobody uses it, or adds the row `two`. */
export async function upgradedData(
  hook: Readonly<Record<string, unknown>>,
  { isUsed = true }: { readonly isUsed?: boolean } = {},
): Promise<{ readonly chroot: Chroot; readonly number: string } & AsyncDisposable> {
  await using resources = new AsyncDisposableStack()
  const chroot = resources.use(await openChroot())
  const archive = await openPackageArchive(chroot)
  await archive.publish(tinyData(1), tinyData(2))
  await setHook(chroot, hook)
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'tiny-data=1'])
  await chroot.sh('tiny-data add one')
  await apt(chroot, ['install', 'tiny-data'])
  const number = String((await transactionsOf(chroot))[0]?.number)
  if (isUsed) await chroot.sh('tiny-data add two')
  const owned = resources.move()
  return { chroot, number, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
}

/** JSON's texts, numbers and lists are TOML's. */
export async function setHook(chroot: Chroot, hook: Readonly<Record<string, unknown>>): Promise<void> {
  const lines = Object.entries(hook).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
  await chroot.sh('mkdir -p /etc/vml/state.d; cat >/etc/vml/state.d/tiny.toml', { input: lines.join('') })
}

/** Folders with what hooks have exported, oldest first. */
export function keptStates(chroot: Chroot): string[] {
  const folder = join(chroot.path, 'var/lib/vml/state/transferred')
  return existsSync(folder)
    ? readdirSync(folder)
        .toSorted()
        .map((name) => join(folder, name))
    : []
}

export async function rowsOf(chroot: Chroot): Promise<string> {
  return (await chroot.sh('tiny-data dump')).stdout.trim().replaceAll('\n', ' ')
}
