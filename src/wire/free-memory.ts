// Gives memory that was freed back to the system: glibc keeps what lies between pieces in use, for the next who asks.
import { loadFfi } from './libc.ts'

/** Nothing happens where the C library has no such call (musl gives back by itself). */
export function giveFreeMemoryBack(): void {
  if (process.platform !== 'linux') return
  try {
    const { functions } = loadFfi().dlopen(null, { malloc_trim: { arguments: ['u64'], return: 'i32' } })
    functions.malloc_trim(0n)
  } catch {
    // Then it stays for the next who asks, in this process.
  }
}
