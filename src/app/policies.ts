// Policies of the user's configuration: which one is meant, and how VML writes them there.
import { stringify } from './toml.ts'
import type { Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import { type Policy, policyName, policySettings } from '../model/policy.ts'
import { type Config, userConfigFile } from './config.ts'
import { tomlOf } from './policy-settings.ts'
import { changeConfig, tableIn, tableName, withoutTable } from './write-config.ts'

interface Whose {
  readonly machine: string
  readonly project?: string | undefined
}

export function findPolicy({ policies }: Config, { machine, project }: Whose): Policy | undefined {
  return policies.find((policy) => policy.machine === machine && policy.project === project)
}

/** Those of a machine, or all; `not-found` where there is none. */
export function choosePolicies(config: Config, machine: string | undefined): readonly Policy[] {
  const chosen = config.policies.filter((policy) => machine === undefined || policy.machine === machine)
  if (chosen.length > 0) return chosen
  throw new VmlError(
    'not-found',
    machine === undefined
      ? `Cannot find any policy in ${userConfigFile(config)}`
      : `Cannot find a policy of machine "${machine}" in ${userConfigFile(config)}`,
    {
      details: { machine: machine ?? null },
      hint: `Set one: vml policy set ${machine ?? 'MACHINE'} --every 1d --keep-daily 7 --keep-monthly 12`,
    },
  )
}

/** Puts the policy where one of that machine and project stood, or at the end of the file. */
export async function writePolicy(config: Config, clock: Clock, policy: Policy): Promise<void> {
  await changeConfig(config, clock, (text, table) => {
    const path = pathOf(policy)
    const fields = tomlOf(policySettings(policy))
    const cut = withoutTable(text, path).trimEnd()
    const body = stringify(fields).trimEnd()
    return {
      text: `${cut === '' ? '' : `${cut}\n\n`}[${tableName(path)}]\n${body === '' ? '' : `${body}\n`}`,
      table: withPolicy(table, policy, fields),
    }
  })
}

/** Fails with `not-found` when there is none of that machine and project. */
export async function removePolicy(config: Config, clock: Clock, whose: Whose): Promise<void> {
  await changeConfig(config, clock, (text, table) => {
    // As the file is now: another vml may have changed it since it was read.
    if (!hasPolicy(table, whose))
      throw new VmlError('not-found', `Cannot find a policy of ${policyName(whose)}`, {
        hint: 'See what there is: vml policy show',
      })
    return { text: withoutTable(text, pathOf(whose)), table: withPolicy(table, whose, undefined) }
  })
}

function hasPolicy(table: Record<string, unknown>, { machine, project }: Whose): boolean {
  const own = tableIn(tableIn(table, 'policies'), machine)
  return project === undefined
    ? Object.keys(own).some((key) => key !== 'projects') ||
        (Object.hasOwn(tableIn(table, 'policies'), machine) && own['projects'] === undefined)
    : Object.hasOwn(tableIn(own, 'projects'), project)
}

function pathOf({ machine, project }: Whose): readonly string[] {
  return ['policies', machine, ...(project === undefined ? [] : ['projects', project])]
}

/** What the file must say then. Tables that hold nothing any more are gone, as they are from the text. */
function withPolicy(
  table: Record<string, unknown>,
  { machine, project }: Whose,
  fields: Record<string, unknown> | undefined,
): Record<string, unknown> {
  const policies = tableIn(table, 'policies')
  const { projects: _, ...own } = tableIn(policies, machine)
  const projects = tableIn(tableIn(policies, machine), 'projects')
  const nextProjects = project === undefined ? projects : replaced(projects, project, fields)
  const nextOwn = project === undefined ? (fields ?? {}) : own
  const next = {
    ...nextOwn,
    ...(Object.keys(nextProjects).length === 0 ? {} : { projects: nextProjects }),
  }
  const isThere = Object.keys(next).length > 0 || (project === undefined && fields !== undefined)
  const all = replaced(policies, machine, isThere ? next : undefined)
  return replaced(table, 'policies', Object.keys(all).length === 0 ? undefined : all)
}

function replaced(
  table: Record<string, unknown>,
  key: string,
  value: Record<string, unknown> | undefined,
): Record<string, unknown> {
  const { [key]: _, ...rest } = table
  return value === undefined ? rest : { ...rest, [key]: value }
}
