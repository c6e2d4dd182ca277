// Several things to do of which any may be refused.
/** What is refused does not keep the rest from being done; the first of it is thrown in the end. */
export interface Trouble {
  try(task: () => void): void
  end(): void
}

export function openTrouble(): Trouble {
  const errors: unknown[] = []
  return {
    try(task) {
      try {
        task()
      } catch (error) {
        errors.push(error)
      }
    },
    end() {
      if (errors.length > 0) throw errors[0]
    },
  }
}
