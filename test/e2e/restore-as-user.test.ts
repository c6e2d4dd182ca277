// A restore by somebody who is not root, written by this process itself and through tar: both end alike.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { vmlEnvironment } from '../cli.ts'
import { describeTree, assertSameTree, sh } from './nasty-tree.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

for (const [how, more] of [
  ['by this process itself', {}],
  ['through tar', { VML_NO_FFI: '1' }],
] as const) {
  test(`a user gets own files back ${how}: within read-only folders, without owners, and what is refused is named`, () => {
    const base = mkdtempSync(join(tmpdir(), 'vml-user-'))
    try {
      // Wherever this checkout lies, its folders need not be open to other users.
      sh(
        root,
        String.raw`cp -r src package.json "$1"; cp "$2" "$1/node"; mkdir "$1/node_modules"; cd node_modules
          for name in commander diff ignore smol-toml zod; do cp -r $name "$1/node_modules"; done`,
        base,
        process.execPath,
      )
      writeFileSync(join(base, 'password'), 'of a test\n')
      sh(
        base,
        'mkdir home; chmod 755 . ; chmod -R go+rX src node_modules node; chown -R 65534:65534 home password',
      )
      const home = join(base, 'home')
      const run = (status: number, ...args: string[]) => {
        const drop = ['--reuid=65534', '--regid=65534', '--clear-groups']
        const command = [join(base, 'node'), join(base, 'src/cli/vml.js'), ...args]
        const outcome = spawnSync('setpriv', [...drop, ...command], {
          env: vmlEnvironment({ home, env: more }),
          cwd: home,
          encoding: 'utf8',
        })
        assert.equal(outcome.status, status, `${args.join(' ')}\n${outcome.stdout}${outcome.stderr}`)
        return outcome
      }
      sh(
        home,
        String.raw`mkdir -p w/ro/sub w/rw; echo a > w/ro/a; head -c 5000000 /dev/urandom > w/ro/sub/big; echo b > w/rw/b; ln w/ro/a w/rw/hard
          ln -s nowhere w/rw/link; mkfifo w/rw/fifo; chmod 4755 w/rw/b; setfattr -n user.k -v v w/rw/b; touch -d @1000000000.123456789 w/ro/a
          chown -hR 65534:65534 w; setfacl -m u:daemon:r w/rw/b; chmod 555 w/ro/sub w/ro`,
      )
      run(0, 'init', join(home, 'logbook'), '--password-file', join(base, 'password'))
      run(0, 'machine', 'add', 'here', 'local:')
      run(0, 'save', 'here', '--only', join(home, 'w'))
      const before = describeTree(join(home, 'w'))
      sh(
        home,
        `chmod 755 w/ro w/ro/sub; rm w/ro/a; echo x >> w/ro/sub/big; chmod 700 w/rw; rm w/rw/link w/rw/fifo
         echo new > w/rw/new; setfattr -x user.k w/rw/b; chown -hR 65534:65534 w; chmod 555 w/ro w/ro/sub`,
      )
      run(0, 'restore', '1', '--delete')
      assertSameTree(describeTree(join(home, 'w')), before)
      // A folder of root's in which a user may write nothing.
      sh(home, 'echo changed > w/rw/b; echo changed > w/ro/sub/big; chown root:root w/rw; chmod 755 w/rw')
      const { stderr } = run(3, 'restore', '1')
      assert.match(stderr, /w\/rw\/b/)
      assert.equal(sh(home, 'cat w/rw/b; find . -name ".vml-restore-*"'), 'changed\n')
      sh(home, 'chown 65534:65534 w/rw')
      run(0, 'restore', '1')
      assertSameTree(describeTree(join(home, 'w')), before)
    } finally {
      rmSync(base, { recursive: true, force: true })
    }
  })
}
