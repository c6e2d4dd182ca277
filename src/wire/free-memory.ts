// Gives memory back to the system between two phases of which the first left much behind.
import { collectOnce } from '../base/sweep.ts'
import { loadFfi } from './libc.ts'

/** What V8 no longer needs, and then what glibc keeps of it for the next who asks. Some 100 ms for 50 MiB that are in use. */
export function freeMemory(): void {
  collectOnce()
  trim()
}

/**
 * From now on large pieces go back to the system as soon as they are free. By itself glibc keeps, once a piece was freed, all that are
 * as large for the next who asks: up to 32 MiB each. Nothing that takes and frees such pieces often should run under this.
 */
export function returnLargePieces(): void {
  callAllocator((allocator) => {
    allocator.mallopt(largestKept, largePieceBytes)
    allocator.mallopt(keptOnTop, 4 * largePieceBytes)
  })
}

/** M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h. */
const largestKept = -3
const keptOnTop = -1
const largePieceBytes = 256 * 1024

function trim(): void {
  callAllocator((allocator) => void allocator.malloc_trim(0n))
}

interface Allocator {
  malloc_trim(keep: bigint): number
  mallopt(parameter: number, value: number): number
}

/** Nothing happens where the C library has no such calls (musl gives back by itself). */
function callAllocator(call: (allocator: Allocator) => void): void {
  if (process.platform !== 'linux') return
  try {
    const { functions } = loadFfi().dlopen(null, {
      malloc_trim: { arguments: ['u64'], return: 'i32' },
      mallopt: { arguments: ['i32', 'i32'], return: 'i32' },
    })
    call(functions)
  } catch {
    // Then it stays for the next who asks, in this process.
  }
}
