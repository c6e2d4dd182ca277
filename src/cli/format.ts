// Numbers and times as people read them.

export { formatBytes } from '../base/format-bytes.ts'

/** Groups of three with thin spaces would not paste well: plain spaces. */
export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(?:\d{3})+$)/g, ' ')
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${formatCount(value)} ${value === 1 ? one : many}`
}

export function formatDuration(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  const whole = Math.round(seconds)
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes}:${pad(whole % 60)} min`
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)} h`
}

/** Local time: `2026-11-03`. */
export function formatDay(at: Date): string {
  return `${String(at.getFullYear()).padStart(4, '0')}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`
}

/** Local time: `14:05`. */
export function formatTime(at: Date): string {
  return `${pad(at.getHours())}:${pad(at.getMinutes())}`
}

/** Local time: `2026-11-03 14:05:00`. */
export function formatMoment(at: Date): string {
  return `${formatDay(at)} ${formatTime(at)}:${pad(at.getSeconds())}`
}

/** With how far that is from UTC: `2026-11-03 14:05:00 +01:00`. */
export function formatMomentInZone(at: Date): string {
  const minutes = -at.getTimezoneOffset()
  const away = Math.abs(minutes)
  return `${formatMoment(at)} ${minutes < 0 ? '-' : '+'}${pad(Math.floor(away / 60))}:${pad(away % 60)}`
}

/** `3 hours ago`, for a line of `status`. */
export function formatAgo(ms: number): string {
  const steps = [
    [60, 'second'],
    [60, 'minute'],
    [24, 'hour'],
    [Number.POSITIVE_INFINITY, 'day'],
  ] as const
  let value = Math.max(0, Math.floor(ms / 1000))
  for (const [size, unit] of steps) {
    if (value < size) return `${plural(value, unit)} ago`
    value = Math.floor(value / size)
  }
  return ''
}

/** `-rw-r--r--` as ls prints it, from a mode with its setuid, setgid and sticky bits. */
export function formatMode(type: string, mode: number): string {
  const letter = typeLetters[type] ?? '?'
  const bits = [0o400, 0o200, 0o100, 0o40, 0o20, 0o10, 4, 2, 1].map((bit, index) =>
    mode & bit ? ('rwx'[index % 3] ?? '-') : '-',
  )
  const special = (index: number, bit: number, set: string, unset: string) => {
    if (mode & bit) bits[index] = bits[index] === 'x' ? set : unset
  }
  special(2, 0o4000, 's', 'S')
  special(5, 0o2000, 's', 'S')
  special(8, 0o1000, 't', 'T')
  return letter + bits.join('')
}

const typeLetters: Readonly<Record<string, string>> = {
  file: '-',
  dir: 'd',
  symlink: 'l',
  fifo: 'p',
  socket: 's',
  dev: 'b',
  chardev: 'c',
}

function pad(value: number): string {
  return String(value).padStart(2, '0')
}
