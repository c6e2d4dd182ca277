// Paths as they are typed, from the folder that a command was started in; that may have been removed since, and most commands do without it.
import { isAbsolute, resolve } from 'node:path'
import { VmlError } from '../base/failure.ts'

export interface Started {
  /** Undefined where it was removed. */
  readonly workingFolder: string | undefined
}

/** Made absolute. */
export function typedPath(started: Started, typed: string): string {
  return isAbsolute(typed) ? resolve(typed) : resolve(requireWorkingFolder(started), typed)
}

export function requireWorkingFolder({ workingFolder }: Started): string {
  if (workingFolder !== undefined) return workingFolder
  throw new VmlError(
    'not-found',
    'Cannot tell where this is: the folder that the command was started in was removed',
    {
      hint: 'Nothing was changed. Change to another folder, such as with cd, and repeat',
    },
  )
}
