// Which paths of a machine a change by hand is looked for in, and of which the content is kept for that.
import { isOwnCode } from './own-code.ts'
import { ruleOf } from './regeneration.ts'
import { isWithin, type RawPath } from './raw-path.ts'
import { isData } from './service-data.ts'

export interface WatchRules {
  /** What the user added: all below it counts, whatever else is said of it. */
  readonly extra: readonly RawPath[]
  /** Whether a package lists the path. Only asked where it matters. */
  readonly isPackaged: (path: RawPath) => boolean
}

/** What VML itself puts on a machine. */
const own =
  /^\/(?:var\/lib\/vml|usr\/lib\/vml|etc\/vml\/watch\.d)(?:\/|$)|^\/etc\/vml$|\/\.vml-stage(?:\/|$)|^\/etc\/apt\/apt\.conf\.d\/00vml$|^\/etc\/dpkg\/dpkg\.cfg\.d\/vml$|^\/(?:etc\/rpm|usr\/lib\/rpm\/macros\.d)\/macros\.vml$|\/dnf-plugins(?:\/(?:__pycache__\/)?vml\.[^/]+)?$|^\/etc\/systemd\/system\/(?:(?:timers|sysinit)\.target\.wants\/)?vml-|^\/etc\/cron\.d\/vml-/
/**
 * People's own, what lasts for one boot, what can be had again, and what tells of the past (hier(7)); so does what etckeeper(8) keeps of `/etc`, which is worth
 * nothing in parts.
 */
const aside =
  /^\/(?:etc\/(?:\.git|\.hg|\.bzr|_darcs|\.etckeeper)|proc|sys|dev|run|tmp|home|root|srv|mnt|media|lost\+found|var\/(?:tmp|log|spool|mail|crash|backups|run|lock|lib\/apt\/(?:lists|periodic|listchanges)|lib\/logrotate|lib\/PackageKit|lib\/dnf|lib\/man-db|lib\/m?locate|lib\/plocate|lib\/update-notifier|cache(?!\/debconf\/(?:config|templates|passwords)\.dat$)))(?:\/|$)/
/** Written by the running system all the time; caches that programs make when they need them. */
const restless =
  /^\/etc\/(?:\.pwd\.lock|\.updated|adjtime|mtab)$|^\/var\/(?:\.updated$|lib\/systemd\/(?!deb-systemd-|catalog))|^\/var\/lib\/(?:dpkg\/(?:lock|lock-frontend|triggers\/Lock)|apt\/daily_lock|dbus\/machine-id)$|\/__pycache__(?:\/|$)|^\/usr\/lib\/locale\/locale-archive$|^\/var\/lib\/dpkg\/(?:updates|parts|tmp\.ci)(?:\/|$)/

/** Pure. Logs, caches, data of services and what is made anew by itself are nobody's work. */
export function isWatched(path: RawPath, { extra, isPackaged }: WatchRules): boolean {
  if (own.test(path) || isOwnCode(path)) return false
  if (extra.some((folder) => isWithin(path, folder))) return true
  if (aside.test(path) || restless.test(path) || ruleOf(path) !== undefined) return false
  return !isData(path, isPackaged)
}

const books = /^\/(?:etc|var\/lib|var\/cache\/debconf)\//
/** Of the system's books and configuration; the largest of them is dpkg's list of packages, of a few MB. */
const bookBytesMax = 16 * 1024 * 1024
/** Of what nobody's package has, such as `/usr/local`: scripts and configuration are far below, programs above. */
const otherBytesMax = 1024 * 1024

/** Up to which size the content of a file is kept, so that a change by hand can be taken back; 0: never. */
export function keptBytesMax(path: RawPath, { extra, isPackaged }: WatchRules): number {
  if (books.test(path) || extra.some((folder) => isWithin(path, folder))) return bookBytesMax
  // What a package has can be had from the package.
  return isPackaged(path) ? 0 : otherBytesMax
}
