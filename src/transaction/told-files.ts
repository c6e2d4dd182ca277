// What the proof of an undo tells of files beside its checks: they stand among the validations of the record, and nothing was to be run for them.

export const toldFiles = { staying: 'files that stay', asBefore: 'files as before' } as const

export function isToldFiles(name: string): boolean {
  return Object.values<string>(toldFiles).includes(name)
}
