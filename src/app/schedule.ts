// Has a timer of this computer call `vml policy run`: which one, for what command, and the steps that put it there or take it away.
import { existsSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { shownLocation } from '../backend/location.ts'
import { VmlError } from '../base/failure.ts'
import type { Policy } from '../model/policy.ts'
import { type Config, userConfigFile } from './config.ts'
import { planLaunchd } from './schedule-launchd.ts'
import { planSystemd } from './schedule-systemd.ts'
import { planWindowsTask } from './schedule-windows.ts'

export const schedulers = ['linux', 'macos', 'windows'] as const
export type SchedulePlatform = (typeof schedulers)[number]

/** What a scheduler is asked to do; texts without control characters. */
export interface ScheduleRequest {
  readonly scope: 'user' | 'system'
  /** Starts with an absolute path. */
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  /** 60 or a part of it. */
  readonly everyMinutes: number
  readonly home: string
  /** `~/.config`, wherever that lies. */
  readonly configHome: string
  readonly dataFolder: string
  readonly stateFolder: string
  readonly user: { readonly name: string; readonly uid: number }
}

export type ScheduleStep =
  | {
      readonly kind: 'write'
      readonly path: string
      readonly content: string
      readonly encoding: 'utf8' | 'utf16le'
    }
  | { readonly kind: 'remove'; readonly path: string }
  /** `optional`: that it fails means only that there was nothing to do. */
  | { readonly kind: 'run'; readonly argv: readonly string[]; readonly optional: boolean }

export interface SchedulePlan {
  readonly install: readonly ScheduleStep[]
  readonly uninstall: readonly ScheduleStep[]
  /** For people. */
  readonly notes: readonly string[]
  /** What to do where its programs cannot be run. */
  readonly instead?: string
}

export function planSchedule(platform: SchedulePlatform, request: ScheduleRequest): SchedulePlan {
  const texts = [
    ...request.command,
    ...Object.values(request.environment),
    request.home,
    request.configHome,
    request.dataFolder,
    request.stateFolder,
  ]
  // oxlint-disable-next-line no-control-regex -- which no format of a scheduler can hold
  const bad = texts.find((text) => /[\u0000-\u001f\u007f]/.test(text))
  if (bad !== undefined)
    throw new VmlError('unsupported', `Cannot schedule ${JSON.stringify(bad)}: it has a control character`, {
      hint: 'Nothing was changed. Use a path without',
    })
  switch (platform) {
    case 'linux':
      return planSystemd(request)
    case 'macos':
      return planLaunchd(request)
    case 'windows':
      return planWindowsTask(request)
  }
}

export function thisPlatform(platform: NodeJS.Platform = process.platform): SchedulePlatform {
  if (platform === 'darwin') return 'macos'
  return platform === 'win32' ? 'windows' : 'linux'
}

/** A timer that ticks less often than the shortest time of a policy would be late; one that ticks oftener costs a look. */
const ticks = [60, 30, 20, 15, 10, 5, 2] as const

export function scheduleRequest(
  config: Config,
  policies: readonly Policy[],
  { scope, platform }: { readonly scope: 'user' | 'system'; readonly platform: SchedulePlatform },
): ScheduleRequest {
  const shortest = policies.reduce(
    (least, { everyMs = least }) => Math.min(least, everyMs),
    Number.POSITIVE_INFINITY,
  )
  const { folders, home } = config
  const { username, uid } = userInfo()
  return {
    scope,
    command: [...vmlCommand(platform), 'policy', 'run', '--all', '--yes', ...flagsOf(config)],
    environment: foldersElsewhere(config),
    everyMinutes: ticks.find((minutes) => minutes * 60_000 <= shortest) ?? 1,
    home,
    configHome: dirname(folders.config),
    dataFolder: folders.data,
    stateFolder: folders.state,
    user: { name: username, uid },
  }
}

/** The launcher, which finds the pinned Node however that changes; on Windows, which has no shell for it, Node itself. */
export function vmlCommand(platform: SchedulePlatform): readonly string[] {
  const root = join(import.meta.dirname, '../..')
  const launcher = join(root, 'vml')
  return platform !== 'windows' && existsSync(launcher)
    ? [launcher]
    : [process.execPath, join(root, 'src/cli/vml.js')]
}

/** A logbook that only a flag, a variable or a folder named is not there when a timer calls. */
function flagsOf(config: Config): readonly string[] {
  const { logbook, passwordFile } = config
  const own = userConfigFile(config)
  if (logbook && logbook.from !== own && shownLocation(logbook.value) !== logbook.value) {
    throw new VmlError(
      'usage',
      `Cannot give "${shownLocation(logbook.value)}" to a timer: everybody on this computer could read its password`,
      {
        hint: `Nothing was installed. Put the location into ${own} as logbook, or leave the password out of it`,
      },
    )
  }
  return [
    ...(logbook && logbook.from !== own ? ['--logbook', logbook.value] : []),
    ...(passwordFile && passwordFile.from !== own ? ['--password-file', passwordFile.value] : []),
  ]
}

function foldersElsewhere({ folders, home }: Config): Readonly<Record<string, string>> {
  const usual = {
    XDG_CONFIG_HOME: [folders.config, '.config'],
    XDG_DATA_HOME: [folders.data, '.local/share'],
    XDG_STATE_HOME: [folders.state, '.local/state'],
    XDG_CACHE_HOME: [folders.cache, '.cache'],
  } as const
  return Object.fromEntries(
    Object.entries(usual)
      .filter(([, [folder, place]]) => dirname(folder) !== join(home, place))
      .map(([variable, [folder]]) => [variable, dirname(folder)]),
  )
}
