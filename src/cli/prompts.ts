// Questions to a person on a terminal; without one there are none.
import type { ReadStream } from 'node:tty'
import { VmlError } from '../base/failure.ts'

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
  const ask = async (question: string) => {
    const { confirm } = await import('@clack/prompts')
    const answer = await untilClosed(options, (common) =>
      confirm({ message: question, initialValue: false, ...common }),
    )
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
      const answer = await untilClosed(options, (common) => password({ message: question, ...common }))
      // Secrets are asked for before anything begins.
      if (answer === undefined || isCancel(answer))
        throw new VmlError('cancelled', 'Cancelled: nothing was written')
      return answer
    },
  }
}

interface Common {
  readonly input: ReadStream
  readonly output: NodeJS.WriteStream
  readonly signal: AbortSignal
}

/**
 * The answer, or undefined where the input ends first. On Ctrl-D readline closes and pauses its input, and a prompt of clack
 * then waits for ever.
 */
async function untilClosed<Answer>(
  { stdin, stderr, signal }: PromptOptions,
  prompt: (common: Common) => Promise<Answer>,
): Promise<Answer | undefined> {
  const input = stdin()
  const closing = new AbortController()
  const { promise: closed, resolve } = Promise.withResolvers<undefined>()
  // An answer closes readline too, a moment before it is told: it goes first.
  const onClosed = () =>
    setImmediate(() => {
      resolve(undefined)
      closing.abort() // Gives the terminal back as it was.
    })
  for (const event of ['pause', 'end', 'close'] as const) input.on(event, onClosed)
  try {
    const answer = prompt({ input, output: stderr, signal: AbortSignal.any([signal, closing.signal]) })
    return await Promise.race([answer, closed])
  } finally {
    for (const event of ['pause', 'end', 'close'] as const) input.off(event, onClosed)
  }
}
