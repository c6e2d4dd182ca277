// Sums of products over GF(2^8), polynomial 0x11D, as AssemblyScript (docs/format.md, "Parity"). Built into gf256.wasm, which is committed, with
//   node_modules/.bin/asc src/store/gf256.as.ts --config none --outFile src/store/gf256.wasm -O3 --converge --noAssert --runtime stub --enable simd --importMemory --initialMemory 1 --noExportMemory
// A factor has a table for each half of a byte, and one instruction looks 16 bytes up at once: Plank, Greenan, Miller, "Screaming Fast Galois
// Field Arithmetic Using Intel SIMD Instructions" (FAST 2013). The first 64 KiB of the memory hold the tables, the rest is the caller's.

const lowHalves: usize = memory.data(16, 16);
const highHalves: usize = memory.data(16, 16);

/** target += factor × source; `length` is a multiple of 32. */
export function addProduct(target: usize, source: usize, length: u32, factor: u32): void {
  let power = factor;
  power = fillTable(lowHalves, power);
  fillTable(highHalves, power);
  const low = v128.load(lowHalves);
  const high = v128.load(highHalves);
  const half = i8x16.splat(15);
  const end = source + <usize>length;
  while (source < end) {
    const first = v128.load(source);
    const second = v128.load(source, 16);
    const firstProduct = v128.xor(
      i8x16.swizzle(low, v128.and(first, half)),
      i8x16.swizzle(high, v128.and(i16x8.shr_u(first, 4), half))
    );
    const secondProduct = v128.xor(
      i8x16.swizzle(low, v128.and(second, half)),
      i8x16.swizzle(high, v128.and(i16x8.shr_u(second, 4), half))
    );
    v128.store(target, v128.xor(v128.load(target), firstProduct));
    v128.store(target, v128.xor(v128.load(target, 16), secondProduct), 16);
    source += 32;
    target += 32;
  }
}

/** Products of a factor and 0 … 15; returns the factor times 16. */
function fillTable(table: usize, factor: u32): u32 {
  store<u8>(table, 0);
  for (let size: usize = 1; size < 16; size <<= 1) {
    for (let at: usize = 0; at < size; at++) store<u8>(table + size + at, load<u8>(table + at) ^ factor);
    factor = (factor << 1) ^ ((factor >> 7) * 0x11d);
  }
  return factor;
}
