// A second logbook beside the configured one: where a copy goes to or comes from, or what a new one is made like.
import { absoluteLocation, type Config, type Setting } from './config.ts'
import { computerSecret } from './keyring.ts'
import { opensWith } from './logbook-keys.ts'
import { type Logbook, openLogbook, type OpenOptions } from './open.ts'
import { typedPath } from './working-folder.ts'

export interface OtherLogbook {
  /** As typed behind `option`. */
  readonly typed: string
  readonly option: string
  /** Tried after this computer's key, unless an option named it; undefined leaves only that key and a question. */
  readonly passwordFile: Setting<string> | undefined
}

export async function openOtherLogbook(
  config: Config,
  { typed, option, passwordFile }: OtherLogbook,
  options: OpenOptions,
): Promise<Logbook> {
  const { home, workingFolder } = config
  const logbook = { value: absoluteLocation(typed, { home, base: workingFolder }), from: option }
  return await openLogbook({ ...config, logbook, passwordFile, passwordCommand: undefined }, options)
}

/** The password file behind an option, else the one that a variable names. */
export function otherPasswordFile(
  config: Config,
  option: { readonly name: string; readonly typed: string | undefined },
  variable?: Setting<string>,
): Setting<string> | undefined {
  if (option.typed === undefined) return variable
  return { value: typedPath(config, option.typed), from: option.name }
}

/** Whether this computer has a key of its own for it: then it is the user's own, and not only one whose password they were told. */
export async function isOwnLogbook({ folders }: Config, { repository }: Logbook): Promise<boolean> {
  const secret = await computerSecret(folders, repository.id)
  return secret !== undefined && (await opensWith(repository, secret)) !== undefined
}
