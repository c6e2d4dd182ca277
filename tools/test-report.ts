// What a test file tells the runner: a line of JSON for every test that has ended, and a last one with what Node has counted.
import { writeSync } from 'node:fs'
import type { TestEvent } from 'node:test/reporters'

export type ReportLine =
  | {
      /** The last is a test that failed because of the tests in it, which have lines of their own. */
      readonly kind: 'started' | 'passed' | 'skipped' | 'failed through others'
      readonly name: string
      readonly line: number
    }
  | { readonly kind: 'failed'; readonly name: string; readonly line: number; readonly text: string }
  /** What Node says beside the tests, such as on an error after the last of them. */
  | { readonly kind: 'said'; readonly text: string }
  | { readonly kind: 'end'; readonly tests: number }

// Its counts come as remarks, too.
const countLine = /^(?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/

/** The runner asks a file that does not end by this signal what keeps it. */
export const questionSignal = 'SIGUSR2'

// oxlint-disable-next-line import/no-default-export -- Node takes the default export of a reporter.
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  process.on(questionSignal, () => {
    writeSync(
      2,
      `${process.argv[1]} is kept by: ${process.getActiveResourcesInfo().join(', ') || 'itself'}\n`,
    )
  })
  for await (const event of events) {
    const line = lineOf(event)
    if (line !== undefined) yield `${JSON.stringify(line)}\n`
  }
}

function lineOf({ type, data }: TestEvent): ReportLine | undefined {
  switch (type) {
    case 'test:dequeue':
      return { kind: 'started', name: data.name, line: data.line ?? 0 }
    case 'test:pass': {
      if (data.details.type === 'suite') return undefined
      // A test that did not run has proven nothing.
      const ran = data.skip === undefined && data.todo === undefined
      return { kind: ran ? 'passed' : 'skipped', name: data.name, line: data.line ?? 0 }
    }
    case 'test:fail': {
      if (data.details.type === 'suite') return undefined
      const { error } = data.details
      if ('failureType' in error && error.failureType === 'subtestsFailed')
        return { kind: 'failed through others', name: data.name, line: data.line ?? 0 }
      const cause = error.cause instanceof Error ? error.cause : error
      const text = cause.stack ?? cause.message
      return { kind: 'failed', name: data.name, line: data.line ?? 0, text }
    }
    case 'test:diagnostic':
      return countLine.test(data.message) ? undefined : { kind: 'said', text: data.message }
    case 'test:summary':
      return { kind: 'end', tests: data.counts.tests }
    default:
      return undefined
  }
}
