// `vml demo`: the whole story on two real guests. It stands in tools/demo, since it needs the project's images and guests.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { typedPath } from '../../app/working-folder.ts'
import { VmlError } from '../../base/failure.ts'
import { defineCommand, text } from '../command.ts'

export const command = defineCommand({
  description:
    'Starts two small virtual machines on this computer and hands work over from one to the other: save, diff, share, import, open on another base image, restore. Other programs (tar, sha256sum, restic) check the outcome. Your own logbook and settings take no part; everything is removed at the end.',
  operands: [],
  options: {
    keep: text('--keep <dir>', 'leave the logbook, its password and report.json there', 'folder'),
  },
  examples: [
    { line: './vml demo', does: 'about a minute; the first time its images are made' },
    { line: './vml demo --keep /tmp/demo', does: 'with something to look at afterwards' },
    {
      line: 'vml log --logbook /tmp/demo/logbook --password-file /tmp/demo/password',
      does: 'look at what it left',
    },
  ],
  async run({ config, signal }, { options }) {
    const program = fileURLToPath(new URL('../../../tools/demo/main.ts', import.meta.url))
    if (!existsSync(program))
      throw new VmlError('unsupported', 'Cannot play the demo: it comes with a clone of the project alone', {
        hint: 'Clone it, and run ./vml demo there',
      })
    const keep = options.keep === undefined ? [] : ['--keep', typedPath(config, options.keep)]
    const child = spawn(process.execPath, [program, ...keep], { stdio: 'inherit' })
    // It tidies up by itself, whoever tells it to end.
    const stop = () => child.kill('SIGTERM')
    signal.addEventListener('abort', stop, { once: true })
    const ended = Promise.withResolvers<number>()
    child.on('error', ended.reject).on('close', (status) => ended.resolve(status ?? 1))
    try {
      return await ended.promise
    } finally {
      signal.removeEventListener('abort', stop)
    }
  },
})
