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
import { redo, undo } from './tx-undo.ts'
import { owner, verify } from './tx-verify.ts'

export const noun: NounSpec = {
  description:
    'Changes of the software of this machine as transactions: recorded, shown, and taken back one by one.',
  verbs: {
    enable: { summary: 'record what apt and dpkg do', command: enable },
    disable: { summary: 'record it no more', command: disable },
    run: { summary: 'make a transaction of a command', command: run },
    list: { summary: 'the transactions', command: list },
    show: { summary: 'one transaction in full', command: show },
    undo: { summary: 'take exactly one back', command: undo },
    redo: { summary: 'bring it back', command: redo },
    recover: { summary: 'mend what was cut off', command: recover },
    check: { summary: 'whether all can be taken back', command: check },
    verify: { summary: 'files against their packages', command: verify },
    owner: { summary: 'whose a path is', command: owner },
    pin: { summary: 'keep packages at their version', command: pin },
    unpin: { summary: 'let them change again', command: unpin },
    hook: { summary: 'for the hooks of apt and dpkg', command: hook },
  },
}
