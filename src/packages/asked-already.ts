// Package managers whose machine was asked for its packages among other things: the answer is kept for who asks first.
import type { InquiryAnswer, PackageManager } from './package-manager.ts'

/**
 * The managers in the order of the answers. Each answer serves once, since packages come and go; where it is none (the script
 * failed, took too long or said too much, the connection went away) the machine is asked as ever, and fails as ever.
 */
export function askedAlready(
  managers: readonly PackageManager[],
  answers: readonly Promise<{ readonly status: number | undefined; readonly stdout: Buffer }>[],
): readonly PackageManager[] {
  return managers.map((manager, index) => {
    let answer = answers[index]
    return {
      ...manager,
      async inventory(shell, options = {}) {
        const kept = await answer?.catch(() => undefined)
        answer = undefined
        options.signal?.throwIfAborted()
        return isAnswer(kept)
          ? manager.parseInventory(kept, shell.label)
          : await manager.inventory(shell, options)
      },
    }
  })
}

function isAnswer(kept: { readonly status: number | undefined } | undefined): kept is InquiryAnswer {
  return kept?.status === 0 || kept?.status === 3
}
