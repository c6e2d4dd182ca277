// Real shells with GNU's tools, with busybox alone, and of an unprivileged user; and a tree of everything Unix allows.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import type { Shell } from '../wire/shell.ts'

/** Puts words before every command, such as `env PATH=…`. */
export function prefixedShell(words: readonly string[], label: string): Shell {
  const shell = openLocalShell()
  return {
    ...shell,
    label,
    start: (request) => shell.start({ ...request, argv: [...words, ...request.argv] }),
    run: (request) => shell.run({ ...request, argv: [...words, ...request.argv] }),
  }
}

/** A folder in which every applet of busybox has its name, and nothing else is. */
export function installBusybox(folder: string): void {
  const busybox = execFileSync('sh', ['-c', 'command -v busybox']).toString().trim()
  const applets = execFileSync(busybox, ['--list']).toString().split('\n').filter(Boolean)
  execFileSync('sh', [
    '-c',
    'cd "$1" && b=$2 && shift 2 && for a; do ln -s "$b" "./$a"; done',
    'sh',
    folder,
    busybox,
    ...applets,
  ])
}

export interface Bench extends Disposable {
  /** A fresh folder by its real name. */
  readonly folder: string
  readonly busyboxPath: string
  path(below: string): RawPath
  sh(script: string, ...words: string[]): string
}

export function openBench(): Bench {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'vml-source-')))
  const folder = join(base, 'work')
  const busyboxPath = join(base, 'bin')
  execFileSync('mkdir', [folder, busyboxPath])
  execFileSync('chmod', ['755', base, folder])
  installBusybox(busyboxPath)
  return {
    folder,
    busyboxPath,
    path(below) {
      const path = parseRawPath(rawFromString(below === '' ? folder : `${folder}/${below}`))
      if (path === undefined) throw new Error(`Not a path: ${below}`)
      return path
    },
    sh: (script, ...words) =>
      execFileSync('bash', ['-euc', `cd "$0"; ${script}`, folder, ...words], { maxBuffer: 1 << 28 }).toString(
        'latin1',
      ),
    [Symbol.dispose]: () => {
      execFileSync('sh', ['-c', 'chmod -R u+rwx "$1" 2>/dev/null; :', 'sh', base])
      rmSync(base, { recursive: true, force: true })
    },
  }
}

export function userlands(
  bench: Bench,
): readonly { readonly name: 'gnu' | 'busybox'; readonly shell: Shell }[] {
  return [
    { name: 'gnu', shell: openLocalShell() },
    { name: 'busybox', shell: prefixedShell(['/usr/bin/env', `PATH=${bench.busyboxPath}`], 'busybox') },
  ]
}

/** A user who owns nothing, with GNU's tools or with busybox alone. */
export function nobodies(
  bench: Bench,
): readonly { readonly name: 'gnu' | 'busybox'; readonly shell: Shell }[] {
  const drop = [
    '/usr/bin/setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    '/usr/bin/env',
    'HOME=/nonexistent',
  ]
  return [
    { name: 'gnu', shell: prefixedShell(drop, 'nobody') },
    { name: 'busybox', shell: prefixedShell([...drop, `PATH=${bench.busyboxPath}`], 'nobody, busybox') },
  ]
}

/** Everything Unix has, below `tree`. */
export function makeNastyTree(bench: Bench): void {
  bench.sh(String.raw`
    mkdir -p tree/empty tree/-rf tree/deep/er
    printf 'plain' > tree/plain; chmod 4751 tree/plain
    printf 'option' > "tree/--checkpoint-action=exec=id"
    printf 'at' > tree/@list; printf 'dash' > tree/-rf/-x
    printf 'nl' > $'tree/new\nline\n'; printf 'q' > "tree/it's \"quoted\" \\n \\\\"
    printf 'latin' > $'tree/caf\xe9'; printf 'glob' > 'tree/[a]*?'
    printf 'esc' > $'tree/\x1b[31mred'
    printf 'space' > 'tree/ lead and trail '
    name=$(printf 'x%.0s' $(seq 255)); printf 'long' > "tree/$name"
    ln tree/plain tree/hard; ln tree/plain tree/deep/hard2
    ln -s 'no where -> else' tree/link; ln -s / tree/rootlink; ln -s $'t\n\xff' tree/rawlink; ln -s ../.. tree/deep/up
    mkfifo tree/fifo; chmod 600 tree/fifo
    truncate -s 3M tree/sparse; printf 'in the middle' | dd of=tree/sparse bs=1 seek=1M conv=notrunc 2>/dev/null
    : > tree/nothing
    touch -d '1965-05-05 05:05:05.123456789Z' tree/@list; touch -d '2001-02-03 04:05:06.987654321Z' tree/-rf tree/empty
    chmod 1777 tree/empty; touch -h -d '1999-09-09 09:09:09.5Z' tree/link
  `)
  if (process.getuid?.() === 0) {
    bench.sh(String.raw`
      chown 1234:4321 tree/nothing; chown -h 12:34 tree/link; chown daemon:daemon tree/deep
      mknod tree/null c 1 3; mknod tree/loop b 7 9
      setfattr -n user.vml -v $'a\nb' tree/@list; setfacl -m u:daemon:rw,g:4321:r tree/nothing; setfacl -d -m u:daemon:rx tree/-rf
      touch -d '2001-02-03 04:05:06.987654321Z' tree/-rf
    `)
  }
  writeFileSync(join(bench.folder, 'outside'), 'not in the tree')
}
