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
  verb('log', 'Look', 'the timeline of entries', async () => (await import('./commands/log.ts')).command),
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
