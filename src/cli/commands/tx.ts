// `vml tx`: changes of the machine's software as transactions, each of which can be taken back alone.
import type { NounSpec } from '../command.ts'
import { longWork } from '../long-work.ts'

export const noun: NounSpec = {
  description:
    'Changes of the software of this machine as transactions: recorded, shown, and taken back one by one.',
  examples: [
    { line: 'sudo vml tx enable', does: 'once: from now on each run of apt is recorded' },
    { line: 'sudo vml tx list', does: 'what was done, newest first' },
    { line: 'sudo vml tx undo 7 --dry-run', does: 'what taking #7 back would change' },
    { line: 'sudo vml tx undo 7', does: 'take exactly that back; all that came later stays' },
    { line: 'sudo vml tx run -- make install', does: 'make a transaction of any command' },
    {
      line: 'sudo vml tx try -- apt-get -y upgrade',
      does: 'see what it would do, then vml tx commit or discard',
    },
  ],
  // apt waits for two of them, one before and one after: what the others import is not for them to load.
  verbs: {
    enable: {
      summary: 'record what package managers do',
      load: async () => (await import('./tx-enable.ts')).enable,
    },
    disable: { summary: 'record it no more', load: async () => (await import('./tx-enable.ts')).disable },
    run: {
      summary: 'make a transaction of a command',
      load: async () => longWork((await import('./tx-run.ts')).command),
    },
    try: {
      summary: 'see what a command would do',
      load: async () => longWork((await import('./tx-try.ts')).tryCommand),
    },
    commit: {
      summary: 'have exactly what was tried',
      load: async () => longWork((await import('./tx-try.ts')).commit),
    },
    discard: {
      summary: 'throw away what was tried',
      load: async () => longWork((await import('./tx-try.ts')).discard),
    },
    list: { summary: 'the transactions', load: async () => (await import('./tx-list.ts')).command },
    show: { summary: 'one transaction in full', load: async () => (await import('./tx-show.ts')).command },
    undo: {
      summary: 'take exactly one back, or several',
      load: async () => longWork((await import('./tx-undo.ts')).undo),
    },
    redo: { summary: 'bring it back', load: async () => longWork((await import('./tx-undo.ts')).redo) },
    confirm: {
      summary: 'keep one that is watched',
      load: async () => (await import('./tx-probation.ts')).confirm,
    },
    'resume-probation': {
      summary: 'go on watching what was committed',
      load: async () => longWork((await import('./tx-probation.ts')).resumeProbation),
    },
    recover: {
      summary: 'mend what was cut off',
      load: async () => longWork((await import('./tx-recover.ts')).recover),
    },
    watch: {
      summary: 'record what is changed by hand',
      load: async () => (await import('./tx-watch.ts')).command,
    },
    check: {
      summary: 'whether all can be taken back',
      load: async () => longWork((await import('./tx-check.ts')).check),
    },
    verify: {
      summary: 'files against their packages',
      load: async () => (await import('./tx-verify.ts')).verify,
    },
    owner: { summary: 'whose a path is', load: async () => (await import('./tx-verify.ts')).owner },
    pin: { summary: 'keep packages at their version', load: async () => (await import('./tx-pin.ts')).pin },
    unpin: { summary: 'let them change again', load: async () => (await import('./tx-pin.ts')).unpin },
    hook: {
      summary: 'for the hooks of package managers',
      load: async () => (await import('./tx-hook.ts')).hook,
      hidden: true,
    },
  },
}
