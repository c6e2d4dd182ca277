// Looks for damage in a repository.
import type { Vault } from './sealed-file.ts'
import type { CheckOptions, CheckReport } from './store.ts'

export async function checkRepository(_vault: Vault, _options: CheckOptions): Promise<CheckReport> {
  throw new Error('to come')
}
