// A backend whose process dies at the n-th call: before the call, or after it took effect. Nothing works afterwards, or only that call failed.
import { setAsideOf } from '../src/backend/aside.ts'
import type { Backend, StagedFile } from '../src/backend/backend.ts'

export interface Death {
  /** Calls are counted from 1; 0 never dies. */
  readonly at: number
  readonly when: 'before' | 'after'
  /** Ends the process, or throws: what, is up to the caller. */
  readonly die: () => void
  /** Only that one call fails. */
  readonly once?: boolean
}

export interface DyingBackend extends Backend {
  calls(): number
}

/** What a process that was killed would have seen, for tests in one process: every later call fails. */
export class Died extends Error {}

export function openDying(backend: Backend, { at, when, die, once = false }: Death): DyingBackend {
  let calls = 0
  let dead = false
  const kill = () => {
    dead = !once
    die()
    throw new Died('The process has died')
  }
  const dying = async <T>(call: () => Promise<T>): Promise<T> => {
    if (dead) throw new Died('The process has died')
    const last = ++calls === at
    if (last && when === 'before') kill()
    const result = await call()
    if (last) kill()
    return result
  }
  const dyingAtOnce = <T>(call: () => T): T => {
    if (dead) throw new Died('The process has died')
    const last = ++calls === at
    if (last && when === 'before') kill()
    const result = call()
    if (last) kill()
    return result
  }
  /** Its calls are calls of the backend; a drop by a process that has died leaves what a kill would. */
  const stageOf = (stage: () => StagedFile) => (): StagedFile => {
    const { descriptor, put, drop } = dyingAtOnce(stage)
    return {
      descriptor,
      put: async (...args) => await dying(async () => await put(...args)),
      drop: () => {
        if (!dead) dyingAtOnce(drop)
      },
    }
  }
  return {
    ...backend,
    ...(backend.stage ? { stage: stageOf(backend.stage.bind(backend)) } : {}),
    calls: () => calls,
    put: async (...put) => await dying(async () => await backend.put(...put)),
    get: async (...get) => await dying(async () => await backend.get(...get)),
    size: async (...size) => await dying(async () => await backend.size(...size)),
    remove: async (...remove) => await dying(async () => await backend.remove(...remove)),
    ...setAsideOf(backend, dying),
    async *list(...list) {
      await dying(async () => {})
      yield* backend.list(...list)
    },
  }
}
