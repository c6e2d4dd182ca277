// `vml tx`: changes of the machine's software as transactions, each of which can be taken back alone.
import type { NounSpec } from '../command.ts'
import { check } from './tx-check.ts'
import { disable, enable } from './tx-enable.ts'
import { hook } from './tx-hook.ts'
import { command as list } from './tx-list.ts'
import { pin, unpin } from './tx-pin.ts'
import { recover } from './tx-recover.ts'
import { command as run } from './tx-run.ts'
import { command as show } from './tx-show.ts'
import { commit, discard, tryCommand } from './tx-try.ts'
import { confirm, resumeProbation } from './tx-probation.ts'
import { command as watch } from './tx-watch.ts'
import { redo, undo } from './tx-undo.ts'
import { owner, verify } from './tx-verify.ts'

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
  verbs: {
    enable: { summary: 'record what package managers do', command: enable },
    disable: { summary: 'record it no more', command: disable },
    run: { summary: 'make a transaction of a command', command: run },
    try: { summary: 'see what a command would do', command: tryCommand },
    commit: { summary: 'have exactly what was tried', command: commit },
    discard: { summary: 'throw away what was tried', command: discard },
    list: { summary: 'the transactions', command: list },
    show: { summary: 'one transaction in full', command: show },
    undo: { summary: 'take exactly one back, or several', command: undo },
    redo: { summary: 'bring it back', command: redo },
    confirm: { summary: 'keep one that is watched', command: confirm },
    'resume-probation': { summary: 'go on watching what was committed', command: resumeProbation },
    recover: { summary: 'mend what was cut off', command: recover },
    watch: { summary: 'record what is changed by hand', command: watch },
    check: { summary: 'whether all can be taken back', command: check },
    verify: { summary: 'files against their packages', command: verify },
    owner: { summary: 'whose a path is', command: owner },
    pin: { summary: 'keep packages at their version', command: pin },
    unpin: { summary: 'let them change again', command: unpin },
    hook: { summary: 'for the hooks of package managers', command: hook, hidden: true },
  },
}
