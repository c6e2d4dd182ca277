// Policies as they stand in config.toml: `[policies.MACHINE]`, and `[policies.MACHINE.projects.PROJECT]` for one project of it.
import { isMachineName } from '../model/machine.ts'
import { type Policy, type PolicySettings, parsePolicy, policySettingForm } from '../model/policy.ts'

/** `refuse` makes the failure that names a key and what it must be. */
export function parsePolicies(
  table: Readonly<Record<string, unknown>>,
  refuse: (key: string, wanted: string) => Error,
): readonly Policy[] {
  return Object.entries(table).flatMap(([machine, value]) => {
    const key = `policies.${machine}`
    if (!isMachineName(machine)) throw refuse(key, 'named by a machine')
    const { projects = {}, ...own } = tableOf(value, key, refuse)
    const ofProjects = Object.entries(tableOf(projects, `${key}.projects`, refuse)).map(([project, each]) => {
      if (!isProjectName(project)) throw refuse(`${key}.projects.${project}`, 'named by a project')
      return readPolicy({ machine, project }, each, { key: `${key}.projects.${project}`, refuse })
    })
    // A table that is there only to hold those of projects is no policy of the machine.
    if (Object.keys(own).length === 0 && ofProjects.length > 0) return ofProjects
    return [readPolicy({ machine }, own, { key, refuse }), ...ofProjects]
  })
}

/** As `vml save --project` takes it, in one line. */
export function isProjectName(text: string): boolean {
  return /^[^\p{Cc}]{1,200}$/u.test(text)
}

interface Reading {
  readonly key: string
  readonly refuse: (key: string, wanted: string) => Error
}

function readPolicy(
  whose: Pick<Policy, 'machine' | 'project'>,
  value: unknown,
  { key, refuse }: Reading,
): Policy {
  const settings = new Map<string, string | readonly string[]>()
  for (const [name, each] of Object.entries(tableOf(value, key, refuse)))
    settings.set(
      name,
      textOf(each) ?? textsOf(each) ?? fail(refuse(`${key}.${name}`, policySettingForm(name))),
    )
  const parsed = parsePolicy(whose, settings)
  if ('wrong' in parsed) throw refuse(`${key}.${parsed.wrong}`, policySettingForm(parsed.wrong))
  return parsed.policy
}

function fail(error: Error): never {
  throw error
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  return typeof value === 'string' ? value : undefined
}

function textsOf(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined
  const texts = value.filter((each) => typeof each === 'string')
  return texts.length === value.length ? texts : undefined
}

/** Whole numbers stand as numbers, as a person would write them. */
export function tomlOf(settings: PolicySettings): Record<string, unknown> {
  return Object.fromEntries(
    [...settings].map(([name, value]) => [
      name,
      typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value,
    ]),
  )
}

function tableOf(
  value: unknown,
  key: string,
  refuse: (key: string, wanted: string) => Error,
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date)
    throw refuse(key, 'a table')
  return Object.fromEntries(Object.entries(value))
}
