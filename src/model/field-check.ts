// Checks what came from outside field by field, and tells of the first that is not as it must be. Nearly every command reads a document: a
// library for this takes longer to load than all else that most of them do.

const misfitMark = Symbol('misfit')

/** What is wrong with a value, and where in it. */
export interface Misfit {
  readonly [misfitMark]: true
  readonly problem: string
  readonly path: readonly (string | number)[]
}

/** Gives the value as it is known here: of an object only the fields that were asked for. */
export type Check<T> = (value: unknown) => T | Misfit

/** A field that may be left out; what is there must fit. */
export interface Optional<T> {
  readonly optional: Check<T>
}

export type Checked<C> = C extends (value: unknown) => infer Result ? Exclude<Result, Misfit> : never

type Fields = Readonly<Record<string, Check<unknown> | Optional<unknown>>>

type ObjectOf<F extends Fields> = {
  readonly [Name in keyof F as F[Name] extends Optional<unknown> ? never : Name]: Checked<F[Name]>
} & {
  readonly [Name in keyof F as F[Name] extends Optional<unknown> ? Name : never]?: F[Name] extends Optional<
    infer T
  >
    ? T
    : never
}

export function misfit(problem: string, path: Misfit['path'] = []): Misfit {
  return { [misfitMark]: true, problem, path }
}

export function isMisfit(value: unknown): value is Misfit {
  return typeof value === 'object' && value !== null && misfitMark in value
}

export function optional<T>(check: Check<T>): Optional<T> {
  return { optional: check }
}

/** Fields that are not asked for are passed over: a later version may write more. */
export function objectOf<F extends Fields>(fields: F): Check<ObjectOf<F>> {
  const asked = Object.entries(fields)
  return (value) => {
    if (!isObject(value)) return misfit('no object')
    const found: Record<string, unknown> = {}
    for (const [name, field] of asked) {
      const isOptional = typeof field !== 'function'
      // What an object inherits is no field of it.
      if (!Object.hasOwn(value, name)) {
        if (isOptional) continue
        return misfit('missing', [name])
      }
      const read = (isOptional ? field.optional : field)(value[name])
      if (isMisfit(read)) return misfit(read.problem, [name, ...read.path])
      found[name] = read
    }
    return found as ObjectOf<F>
  }
}

/** Stops at the first item that does not fit: of millions each would have its message. */
export function listOf<T>(item: Check<T>, max: number): Check<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value)) return misfit('no list')
    if (value.length > max) return misfit('too long')
    const items: T[] = []
    for (const [at, given] of value.entries()) {
      const read = item(given)
      if (isMisfit(read)) return misfit(read.problem, [at, ...read.path])
      items.push(read)
    }
    return items
  }
}

/** Values by name; which names there are is up to the other side. */
export function byName<T>(
  item: Check<T>,
  { namesMax, nameCharactersMax }: { readonly namesMax: number; readonly nameCharactersMax: number },
): Check<Readonly<Record<string, T>>> {
  return (value) => {
    if (!isObject(value)) return misfit('no object')
    const found: [string, T][] = []
    for (const name of Object.keys(value)) {
      // Whoever copies it by assignment would give the copy another prototype.
      if (name === '__proto__') continue
      const read = name.length > nameCharactersMax ? misfit('too long a name') : item(value[name])
      if (isMisfit(read)) return misfit(read.problem, [name, ...read.path])
      if (found.push([name, read]) > namesMax) return misfit('too many names')
    }
    return Object.fromEntries(found)
  }
}

/** Lengths are of UTF-16, as JavaScript counts. */
export function textOf({
  charactersMax = Infinity,
  pattern,
}: {
  readonly charactersMax?: number
  readonly pattern?: RegExp
}): Check<string> {
  return (value) => {
    if (typeof value !== 'string') return misfit('no text')
    if (value.length > charactersMax) return misfit('too long')
    return pattern === undefined || pattern.test(value) ? value : misfit('not in its form')
  }
}

/** A count: from 0 up, and small enough to be exact. */
export function count(value: unknown): number | Misfit {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : misfit('no count')
}

export function flag(value: unknown): boolean | Misfit {
  return typeof value === 'boolean' ? value : misfit('neither true nor false')
}

export function oneOf<const Value extends string | number>(...values: readonly Value[]): Check<Value> {
  return (value) => values.find((each) => each === value) ?? misfit(`none of ${values.join(', ')}`)
}

/** What fits `check` and something more. */
export function suchThat<T>(check: Check<T>, holds: (value: T) => boolean, problem: string): Check<T> {
  return (value) => {
    const read = check(value)
    return isMisfit(read) || holds(read) ? read : misfit(problem)
  }
}

/** What is made of a value that fits. */
export function convert<T, Result>(check: Check<T>, make: (value: T) => Result | Misfit): Check<Result> {
  return (value) => {
    const read = check(value)
    return isMisfit(read) ? read : make(read)
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
