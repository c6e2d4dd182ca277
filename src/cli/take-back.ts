// What `vml tx undo` and `vml tx redo` were asked for, here or on a machine over ssh.
import type { FindAmong } from '../transaction/transactions.ts'
import type { UndoRequest } from '../transaction/undo.ts'

export interface TakeBack {
  readonly kind: UndoRequest['kind']
  /** Transactions, as they were typed. */
  readonly typed: readonly string[]
  readonly choose: (among: FindAmong) => ChosenTransactions
  readonly options: TakeBackOptions
}

export interface ChosenTransactions extends Pick<UndoRequest, 'subject' | 'transactions'> {
  /** What it is told as, where that is not by their names. */
  readonly title?: string
}

export interface TakeBackOptions {
  readonly on: string | undefined
  readonly toBefore?: string | undefined
  readonly withDependents: boolean
  readonly keepNeeded: boolean
  readonly data: boolean
  readonly leaveData: boolean
  readonly scripts: boolean
  readonly pinned: boolean
  readonly dryRun: boolean
}

/** For the record: what was asked for, without what is only about how it is told. */
export function typedCommand({ kind, typed, options }: Omit<TakeBack, 'choose'>): string[] {
  const flags = {
    '--with-dependents': options.withDependents,
    '--keep-needed': options.keepNeeded,
    '--pinned': options.pinned,
    '--data': options.data,
    '--leave-data': options.leaveData,
    '--scripts': options.scripts,
  }
  return [
    ...['vml', 'tx', kind, ...typed],
    ...(options.toBefore === undefined ? [] : ['--to-before', options.toBefore]),
    ...Object.entries(flags).flatMap(([flag, isGiven]) => (isGiven ? [flag] : [])),
    ...(options.on === undefined ? [] : ['--on', options.on]),
  ]
}
