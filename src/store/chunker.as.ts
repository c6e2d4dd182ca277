// The two chunkers as AssemblyScript (docs/format.md, "Chunking"). Built into chunker.wasm, which is committed, with
//   node_modules/.bin/asc src/store/chunker.as.ts --config none --outFile src/store/chunker.wasm -O3 --converge --noAssert --runtime stub --initialMemory 257 --maximumMemory 257
// The first 64 KiB of the memory hold the tables, the rest is the buffer that chunker.ts hands out.

const windowBytes: u32 = 64;
const gearTable: usize = memory.data(2048, 16);
const outTable: usize = memory.data(2048, 16);
const reduceTable: usize = memory.data(2048, 16);

export function openGear(seed: u64): void {
  let state = seed;
  for (let byte = 0; byte < 256; byte++) {
    state += 0x9E3779B97F4A7C15;
    let mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    store<u64>(gearTable + (<usize>byte << 3), mixed ^ (mixed >> 31));
  }
}

/** Length of the first chunk of `length` bytes at `at`. */
export function cutGear(at: usize, length: u32, min: u32, normal: u32, max: u32, strict: u64, loose: u64): u32 {
  if (length <= min || areZeros(at, min)) return length < min ? length : min;
  const end = at + <usize>(length < max ? length : max);
  const middle = at + <usize>normal < end ? at + <usize>normal : end;
  const first = at + <usize>min;
  let hash: u64 = 0;
  let next = first - windowBytes;
  while (next < first) hash = gearStep(hash, next++);
  if (!(hash & strict)) return min;
  while (next < middle) {
    hash = gearStep(hash, next++);
    if (!(hash & strict)) return <u32>(next - at);
  }
  while (next < end) {
    hash = gearStep(hash, next++);
    if (!(hash & loose)) return <u32>(next - at);
  }
  return <u32>(end - at);
}

/** `min` is a multiple of 8; content that is not zero shows at once. */
function areZeros(at: usize, min: u32): bool {
  for (let offset: u32 = 0; offset < min; offset += 8) {
    if (load<u64>(at + <usize>offset)) return false;
  }
  return true;
}

// @ts-ignore: decorator
@inline
function gearStep(hash: u64, at: usize): u64 {
  return (hash << 1) + load<u64>(gearTable + (<usize>load<u8>(at) << 3));
}

/** `polynomial` is of degree 53, so the top byte of a digest lies at bit 45. */
export function openRabin(polynomial: u64): void {
  for (let byte: u64 = 0; byte < 256; byte++) {
    let out = byte;
    for (let shifted: u32 = 1; shifted < windowBytes; shifted++) out = reduce(out << 8, polynomial);
    store<u64>(outTable + (<usize>byte << 3), out);
    store<u64>(reduceTable + (<usize>byte << 3), reduce(byte << 53, polynomial) | (byte << 53));
  }
}

export function cutRabin(at: usize, length: u32, min: u32, max: u32, mask: u64): u32 {
  if (length <= min) return length;
  const end = at + <usize>(length < max ? length : max);
  const first = at + <usize>min;
  let digest: u64 = 0;
  let next = first - windowBytes;
  while (next < first) digest = rabinStep(digest, next++);
  if (!(digest & mask)) return min;
  while (next < end) {
    digest ^= load<u64>(outTable + (<usize>load<u8>(next - windowBytes) << 3));
    digest = rabinStep(digest, next++);
    if (!(digest & mask)) return <u32>(next - at);
  }
  return <u32>(end - at);
}

// @ts-ignore: decorator
@inline
function rabinStep(digest: u64, at: usize): u64 {
  return ((digest << 8) | <u64>load<u8>(at)) ^ load<u64>(reduceTable + (<usize>(digest >> 45) << 3));
}

function reduce(value: u64, polynomial: u64): u64 {
  while (value >> 53) value ^= polynomial << (clz(polynomial) - clz(value));
  return value;
}
