// One file of /var/lib/dpkg/alternatives: which programs can be a generic one, and how one is chosen (update-alternatives(1)).

export interface AlternativeLink {
  readonly name: string
  /** The generic path, such as `/usr/bin/editor`; it points to `/etc/alternatives/NAME`. */
  readonly link: string
}

export interface AlternativeChoice {
  readonly path: string
  readonly priority: number
  /** A file for each slave link of the group, in its order; empty where this choice has none. */
  readonly slaves: readonly string[]
}

export interface Alternative {
  readonly status: 'auto' | 'manual'
  readonly link: string
  readonly slaves: readonly AlternativeLink[]
  readonly choices: readonly AlternativeChoice[]
}

/** Far above what distributions have (`java` has 30 links); a file with more is none of update-alternatives'. */
export const alternativeLinesMax = 100_000

/**
 * dpkg, `utils/update-alternatives.c`, `alternative_save`: status, link, then name and link of each slave, a blank line; then path,
 * priority and a line for each slave of each choice, a blank line. Undefined for anything else.
 */
export function parseAlternative(text: string): Alternative | undefined {
  const lines = text.split('\n')
  if (lines.length > alternativeLinesMax || lines.at(-1) !== '' || lines.at(-2) !== '') return undefined
  const [status, link = ''] = lines
  if ((status !== 'auto' && status !== 'manual') || link === '') return undefined
  const slaves: AlternativeLink[] = []
  let at = 2
  for (; lines[at] !== ''; at += 2) {
    const [name, slaveLink] = [lines[at], lines[at + 1]]
    if (name === undefined || slaveLink === undefined || slaveLink === '') return undefined
    slaves.push({ name, link: slaveLink })
  }
  const choices: AlternativeChoice[] = []
  for (at++; at < lines.length - 2; at += 2 + slaves.length) {
    const [path = '', priority = ''] = lines.slice(at, at + 2)
    if (path === '' || !/^(?:0|-?[1-9]\d{0,9})$/.test(priority)) return undefined
    if (at + 2 + slaves.length > lines.length - 2) return undefined
    choices.push({ path, priority: Number(priority), slaves: lines.slice(at + 2, at + 2 + slaves.length) })
  }
  const isWhole = at === lines.length - 2
  return isWhole && isUnique(slaves.map(({ name }) => name)) && isUnique(choices.map(({ path }) => path))
    ? { status, link, slaves, choices }
    : undefined
}

export function formatAlternative({ status, link, slaves, choices }: Alternative): string {
  const head = [status, link, ...slaves.flatMap(({ name, link: slaveLink }) => [name, slaveLink]), '']
  const body = choices.flatMap((choice) => [choice.path, String(choice.priority), ...choice.slaves])
  return [...head, ...body, '', ''].join('\n')
}

/** `alternative_get_best`: of the highest priority the one that is chosen now, else the first. */
export function bestChoice({ choices }: Alternative, now: string | undefined): AlternativeChoice | undefined {
  const highest = Math.max(...choices.map(({ priority }) => priority))
  const best = choices.filter(({ priority }) => priority === highest)
  return best.find(({ path }) => path === now) ?? best[0]
}

function isUnique(values: readonly string[]): boolean {
  return new Set(values).size === values.length
}
