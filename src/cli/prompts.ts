// Questions to a person on a terminal; without one there are none.
import type { ReadStream } from 'node:tty'
import { VmlError } from '../base/failure.ts'
import { cancelled } from './failures.ts'

export interface Prompts {
  confirm(question: string): Promise<void>
  /** For what --yes does not cover, such as trusting a key; undefined without a terminal. */
  readonly askPerson: ((question: string) => Promise<void>) | undefined
  askSecret(question: string): Promise<string | undefined>
}

export interface PromptOptions {
  readonly yes: boolean
  /** Standard input and error are a terminal, and the output is not for a program. */
  readonly interactive: boolean
  readonly stdin: () => ReadStream
  readonly stderr: NodeJS.WriteStream
  readonly signal: AbortSignal
}

export function openPrompts(options: PromptOptions): Prompts {
  const common = () => ({ input: options.stdin(), output: options.stderr, signal: options.signal })
  const ask = async (question: string) => {
    const { confirm } = await import('@clack/prompts')
    const answer = await confirm({ message: question, initialValue: false, ...common() })
    if (answer !== true) throw new VmlError('cancelled', 'Cancelled: nothing was changed')
  }
  return {
    askPerson: options.interactive ? ask : undefined,
    async confirm(question) {
      if (options.yes) return
      if (!options.interactive)
        throw new VmlError('usage', `Cannot ask without a terminal: ${question} Nothing was changed`, {
          hint: 'Add --yes to agree beforehand',
        })
      await ask(question)
    },
    async askSecret(question) {
      if (!options.interactive) return undefined
      const { isCancel, password } = await import('@clack/prompts')
      const answer = await password({ message: question, ...common() })
      if (isCancel(answer)) throw cancelled()
      return answer
    },
  }
}
