// The table of commands. Each is one file, imported only when it is asked for; its line here is all that `vml --help` needs.
import type { Command, NounSpec } from './command.ts'

export type Loaded =
  | { readonly kind: 'verb'; readonly command: Command }
  | { readonly kind: 'noun'; readonly noun: NounSpec }

export interface CommandEntry {
  readonly name: string
  readonly job: 'Start' | 'Record' | 'Look' | 'Go back' | 'Hand over' | 'Keep order'
  readonly summary: string
  readonly hidden?: boolean
  load(): Promise<Loaded>
}

/** In the order of `vml --help`. */
export const commands: readonly CommandEntry[] = [
  verb('init', 'Start', 'make a logbook', async () => (await import('./commands/init.ts')).command),
  noun(
    'machine',
    'Start',
    'machines that are logged: add, list, rm',
    async () => (await import('./commands/machine.ts')).noun,
  ),
  verb(
    'save',
    'Record',
    'add an entry: the state of a machine now',
    async () => (await import('./commands/save.ts')).command,
  ),
  verb(
    'restore',
    'Go back',
    'put an entry back, or one path of it',
    async () => (await import('./commands/restore.ts')).command,
  ),
  noun(
    'tx',
    'Go back',
    'changes of software, each taken back alone: enable, run, list, undo',
    async () => (await import('./commands/tx.ts')).noun,
  ),
  verb(
    'share',
    'Hand over',
    'one entry as one file',
    async () => (await import('./commands/share.ts')).command,
  ),
  verb('import', 'Hand over', 'take in a share', async () => (await import('./commands/import.ts')).command),
  verb(
    'copy',
    'Hand over',
    'entries into another logbook',
    async () => (await import('./commands/copy.ts')).command,
  ),
  noun(
    'image',
    'Hand over',
    'base images: list, pull',
    async () => (await import('./commands/image.ts')).noun,
  ),
  verb(
    'open',
    'Hand over',
    'run an entry as a virtual machine',
    async () => (await import('./commands/open.ts')).command,
  ),
  verb(
    'status',
    'Look',
    'last save of each machine, health of the logbook',
    async () => (await import('./commands/status.ts')).command,
  ),
  verb('log', 'Look', 'the timeline of entries', async () => (await import('./commands/log.ts')).command),
  verb('show', 'Look', 'one entry in full', async () => (await import('./commands/show.ts')).command),
  verb('ls', 'Look', 'files of an entry', async () => (await import('./commands/ls.ts')).command),
  verb('cat', 'Look', 'a file of an entry', async () => (await import('./commands/cat.ts')).command),
  verb(
    'diff',
    'Look',
    'what changed between two entries',
    async () => (await import('./commands/diff.ts')).command,
  ),
  verb(
    'find',
    'Look',
    'in which entries a path is, and when it changed',
    async () => (await import('./commands/find.ts')).command,
  ),
  verb(
    'edit',
    'Keep order',
    'title, note, tags, project of an entry',
    async () => (await import('./commands/edit.ts')).command,
  ),
  verb('rm', 'Keep order', 'remove entries', async () => (await import('./commands/rm.ts')).command),
  verb(
    'prune',
    'Keep order',
    'free the space of what no entry needs',
    async () => (await import('./commands/prune.ts')).command,
  ),
  noun(
    'policy',
    'Keep order',
    'how often to save, what to keep: set, show, apply, run, install',
    async () => (await import('./commands/policy.ts')).noun,
  ),
  verb(
    'check',
    'Keep order',
    'whether everything is there and whole',
    async () => (await import('./commands/check.ts')).command,
  ),
  noun(
    'parity',
    'Keep order',
    'recovery data for damaged and lost packs: show, set, update',
    async () => (await import('./commands/parity.ts')).noun,
  ),
  noun(
    'key',
    'Keep order',
    'what opens the logbook: list, add, remove, password',
    async () => (await import('./commands/key.ts')).noun,
  ),
  verb(
    'unlock',
    'Keep order',
    'remove locks that were left behind',
    async () => (await import('./commands/unlock.ts')).command,
  ),
  verb(
    'reindex',
    'Keep order',
    'make the catalogue again',
    async () => (await import('./commands/reindex.ts')).command,
  ),
  verb(
    'demo',
    'Start',
    'see it all, on two small virtual machines',
    async () => (await import('./commands/demo.ts')).command,
  ),
  verb(
    'completion',
    'Start',
    'completion for bash, zsh and fish',
    async () => (await import('./commands/completion.ts')).command,
  ),
  {
    ...verb(
      '__complete',
      'Start',
      'words for a shell',
      async () => (await import('./commands/complete.ts')).command,
    ),
    hidden: true,
  },
]

export function findCommand(name: string): CommandEntry | undefined {
  return commands.find((entry) => entry.name === name)
}

function verb(
  name: string,
  job: CommandEntry['job'],
  summary: string,
  load: () => Promise<Command>,
): CommandEntry {
  return { name, job, summary, load: async () => ({ kind: 'verb', command: await load() }) }
}

function noun(
  name: string,
  job: CommandEntry['job'],
  summary: string,
  load: () => Promise<NounSpec>,
): CommandEntry {
  return { name, job, summary, load: async () => ({ kind: 'noun', noun: await load() }) }
}
