// What does the work of a verb of `vml tx` for a machine over ssh where it takes no `--on`: the table of docs/guide/undo-on.md.

const there = 'run it on the machine itself, where VML is installed'

const instead: Readonly<Record<string, string>> = {
  try: 'vml tx run --on MACHINE --strict -- COMMAND commits only what stands its checks, and vml tx undo ID --on MACHINE takes it back',
  commit: 'nothing waits there: vml tx run --on MACHINE commits at once',
  discard: 'nothing waits there: vml tx run --on MACHINE commits at once',
  confirm: 'look, and take it back if it is not what you wanted: vml tx undo ID --on MACHINE',
  'resume-probation': 'nothing is watched there: vml tx undo ID --on MACHINE takes it back',
  enable: there,
  disable: there,
  watch: there,
  verify: there,
  owner: there,
  check: 'its records are in your logbook: vml check --read-data looks at what lies there',
  pin: 'apt-mark hold PACKAGE on the machine itself; an undo over ssh heeds that',
  unpin: 'apt-mark unhold PACKAGE on the machine itself',
}

/** Undefined for what takes it, or is no verb. */
export function insteadOfOn(verb: string | undefined): string | undefined {
  return verb === undefined || !Object.hasOwn(instead, verb) ? undefined : instead[verb]
}
