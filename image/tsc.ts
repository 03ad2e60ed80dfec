/**
 * The host's time stamp counter frequency, which a guest under TCG shares.
 *
 * Under load the guest's own calibration fails or is wrong (microvm has nothing to calibrate
 * against at all), so the launcher measures here and says `tsc_early_khz=` on the command line.
 */

const CLOCK_MONOTONIC_RAW = 4;
const PROT_RWX = 7;
const MAP_PRIVATE_ANONYMOUS = 0x22;
/** rdtsc; shl rdx,32; or rax,rdx; ret */
const READ_TSC = [0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];

let measured: Promise<number | null> | undefined;

/** The TSC's frequency in kHz, measured once over 50 ms; null where it cannot be read. */
export function hostTscKhz(): Promise<number | null> {
  measured ??= Deno.build.arch === "x86_64" ? measure() : Promise.resolve(null);
  return measured;
}

async function measure(): Promise<number | null> {
  const libc = Deno.dlopen("libc.so.6", {
    // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
    mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
    // int clock_gettime(clockid_t clockid, struct timespec *tp);
    clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  });
  try {
    const code = libc.symbols.mmap(null, 4096n, PROT_RWX, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    // MAP_FAILED is -1; a hardened host forbids writable code, and then the guest calibrates itself.
    if (code === null || Deno.UnsafePointer.value(code) === 0xffff_ffff_ffff_ffffn) return null;
    new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(code, READ_TSC.length)).set(READ_TSC);
    const signature = { parameters: [], result: "u64" } as const;
    const rdtsc = new Deno.UnsafeFnPointer(
      code as Deno.PointerObject<typeof signature>,
      signature,
    );
    const timespec = new BigInt64Array(2);
    const bytes = new Uint8Array(timespec.buffer);
    const sample = (): { ticks: bigint; ms: number } => {
      let best = { ticks: 0n, ms: 0 };
      let width = Infinity;
      // The narrowest of many brackets is the one no interrupt fell into.
      for (let i = 0; i < 50; i++) {
        const before = BigInt(rdtsc.call());
        libc.symbols.clock_gettime(CLOCK_MONOTONIC_RAW, bytes);
        const after = BigInt(rdtsc.call());
        if (Number(after - before) >= width) continue;
        width = Number(after - before);
        best = {
          ticks: before + (after - before) / 2n,
          ms: Number(timespec[0]) * 1e3 + Number(timespec[1]) / 1e6,
        };
      }
      return best;
    };
    const start = sample();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const end = sample();
    return Math.round(Number(end.ticks - start.ticks) / (end.ms - start.ms));
  } finally {
    libc.close();
  }
}
