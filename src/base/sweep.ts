// Has V8 collect what passes through a thread: memory outside of its heap weighs too little with it.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What may be left behind before it is collected. */
const garbageBytesMax = 16 * 1024 * 1024

/**
 * Told of bytes that passed through Node's cipher, which gives out fresh memory for every piece: V8 lets some 64 MiB of that pile up
 * in each thread. A small collection now and then takes a thousandth of the time. Where V8 has no such call it goes without.
 */
export function openSweep(): (bytes: number) => void {
  const collect = findCollector()
  let left = garbageBytesMax
  return (bytes) => {
    left -= bytes
    if (left > 0) return
    left = garbageBytesMax
    collect?.({ type: 'minor' })
  }
}

/** Everything at once. */
export function collectOnce(): void {
  findCollector()?.({ type: 'major', flavor: 'last-resort' })
}

/**
 * From here on V8 rather collects than grows, in every thread: where much is kept for long and little more is made. Its
 * area for what is new stays at 1 MiB (it takes three of up to 16), the rest may grow by a fifth of what is in use (it doubles).
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--heap-growing-percent=20')
}

/**
 * For work whose objects stay: from here on V8 makes no more room for new ones than it begins with, and lets the rest double. Left to
 * itself it takes 32 MiB for new ones and more than double for the rest. V8 reads these flags at each collection, in every thread.
 */
export function growSlowly(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--heap-growing-percent=100')
}

/** For what comes after, when little more is made that stays: V8 rather collects than grows, by no more than a tenth of what is in use. */
export function stopGrowing(): void {
  setFlagsFromString('--heap-growing-percent=10')
  // V8 otherwise lets 8 MiB pile up in each thread, however little is in use there.
  setFlagsFromString('--optimize-for-size')
}

type Collector = (options: { readonly type: 'minor' | 'major'; readonly flavor?: 'last-resort' }) => void

function findCollector(): Collector | undefined {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('globalThis.gc')
  return typeof collect === 'function'
    ? (options) => void Reflect.apply(collect, undefined, [options])
    : undefined
}
