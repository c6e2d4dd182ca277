// What can be told of a location from its text alone: whether it is a path, and what of it may be shown.

/** The word before the colon of a location that is no path; `local` for a path. One letter is a drive of Windows. */
export function schemeOf(location: string): string {
  return /^([a-z][a-z0-9+-]+):/.exec(location)?.[1] ?? 'local'
}

/**
 * Without a password that stands in a URL, for messages, logs and results. A remote of rclone on the fly (`rclone::sftp,pass=…:path`)
 * may hold secrets: only its type is shown.
 */
export function shownLocation(location: string): string {
  if (schemeOf(location) === 'rclone')
    return location.replace(/^(rclone::?[^:,/]*),(?:"[^"]*"|'[^']*'|[^:])*:/, '$1,…:')
  return location.replace(/(\/\/[^/@:\s]*):[^/\s]*@/, '$1:***@')
}
