/**
 * Tests against the kernel this host runs.
 *
 * Owns: the check of what is permitted here, the loud skip of what is not, and namespaces for tests
 * that would change the host.
 * Must never: pass a test that did not run: its name says `[skipped: reason]`.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Errno, type ErrnoName } from "../../src/kernel/errno.ts";
import type { Libc, LibcSymbols } from "../../src/kernel/libc.ts";
import type { Handler } from "../../src/kernel/reactor.ts";

/** Why a test cannot run here, or null when it can. */
export type Need = () => string | null;

/** CAP_* bit numbers, linux/capability.h. */
const CAPABILITIES = {
  CAP_KILL: 5,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_SYSLOG: 34,
} as const;

/** Holds a capability. */
export function capability(name: keyof typeof CAPABILITIES): Need {
  return () => {
    const status = Deno.readTextFileSync("/proc/self/status");
    const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
    return ((bits >> BigInt(CAPABILITIES[name])) & 1n) === 1n ? null : `no ${name}`;
  };
}

/** A file or device is there and can be opened for reading. */
export function readable(path: string): Need {
  return () => {
    try {
      Deno.openSync(path).close();
      return null;
    } catch (error) {
      return `${path}: ${error instanceof Error ? error.name : error}`;
    }
  };
}

/** A program is on PATH. */
export function program(name: string): Need {
  return () => {
    const paths = (Deno.env.get("PATH") ?? "").split(":");
    const found = paths.some((path) => {
      try {
        return Deno.statSync(`${path}/${name}`).isFile;
      } catch (error) {
        if (
          error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied
        ) {
          return false;
        }
        throw error;
      }
    });
    return found ? null : `no ${name}`;
  };
}

/** `unshare` works with these options here. */
export function unshareable(...options: string[]): Need {
  return () => {
    const missing = program("unshare")();
    if (missing !== null) return missing;
    const { success } = new Deno.Command("unshare", { args: [...options, "true"] }).outputSync();
    return success ? null : `unshare ${options.join(" ")} refused`;
  };
}

/** All of them; the first reason counts. */
export function all(...needs: Need[]): Need {
  return () => {
    for (const need of needs) {
      const reason = need();
      if (reason !== null) return reason;
    }
    return null;
  };
}

/** Nothing is needed. */
export const nothing: Need = () => null;

/** Set in the inner run of a namespaced test to its name. */
const INSIDE = "OSYM_KERNEL_TEST";

/** Where a test runs when it must not run in this process. */
export interface Apart {
  /** The test file's `import.meta.url`. */
  readonly module: string;
  /** Options of unshare(1), such as `"--net"`; none for just a process of its own. */
  readonly unshare: readonly string[];
}

/**
 * Registers a test that needs something of the host.
 *
 * With `apart`, the test runs in a process (and namespaces) of its own: this file is run again there
 * for that test only.
 */
export function kernelTest(
  name: string,
  need: Need,
  fn: () => void | Promise<void>,
  apart?: Apart,
): void {
  const inside = Deno.env.get(INSIDE);
  // The inner run registers only the test it is for.
  if (inside !== undefined && inside !== name) return;
  const reason = need();
  Deno.test({
    name: reason === null ? name : `${name} [skipped: ${reason}]`,
    ignore: reason !== null,
    fn: apart === undefined || inside === name ? fn : () => runApart(name, apart),
  });
}

async function runApart(name: string, apart: Apart): Promise<void> {
  const deno = [Deno.execPath(), "test", "-A", "--no-check", "--quiet", apart.module];
  const argv = apart.unshare.length === 0 ? deno : ["unshare", ...apart.unshare, ...deno];
  const [command = "", ...args] = argv;
  const output = await new Deno.Command(command, {
    args,
    env: { [INSIDE]: name, NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
  assert.ok(output.success && text.includes("1 passed"), `run apart:\n${text}`);
}

/** A libc of which only the named functions exist. A call of any other fails the test. */
export function fakeLibc<Names extends keyof LibcSymbols>(
  sym: Pick<LibcSymbols, Names>,
  errno: () => number = () => 0,
): Libc<Names> {
  return { sym, errno };
}

/** A netlink socket that holds what the test puts into it, and the reactor that watches it. */
export class FakeNetlink {
  /** Datagrams to come, or that the kernel had no room for some. Empty is EAGAIN. */
  readonly inbox: (Uint8Array | "ENOBUFS")[] = [];
  #errno = 0;
  #handler: Handler = () => {};

  readonly libc = fakeLibc({
    socket: () => 9,
    bind: () => 0,
    getsockname: () => 0,
    setsockopt: () => 0,
    getsockopt: () => 0,
    sendto: () => 0,
    close: () => 0,
    recvfrom: (_fd, buffer) => {
      const next = this.inbox.shift() ?? "EAGAIN";
      if (typeof next === "string") {
        this.#errno = Errno[next];
        return -1;
      }
      (buffer as Uint8Array<ArrayBuffer>).set(next);
      return next.byteLength;
    },
  }, () => this.#errno);

  readonly reactor = {
    add: (fd: number, _interest: unknown, added: Handler) => {
      this.#handler = added;
      return { fd, active: true, modify() {}, remove() {} };
    },
  };

  /** Has whoever watches the socket drain it once. */
  turn(): "more" | void {
    return this.#handler({
      read: true,
      write: false,
      priority: false,
      hangup: false,
      error: false,
    });
  }
}

/**
 * Scripted results of one faked call: each is a value to return, or an errno's name to fail with.
 * Past the end the last one repeats.
 */
export class Script {
  #errno = 0;
  readonly calls: unknown[][] = [];

  /** errno of the last failed call. */
  readonly errno = (): number => this.#errno;

  /** A function that plays `results` in order. A function among them is called for its result. */
  fn(
    ...results: (number | ErrnoName | ((...args: unknown[]) => number | ErrnoName))[]
  ): (...args: unknown[]) => number {
    let next = 0;
    return (...args) => {
      this.calls.push(args);
      const step = results[Math.min(next++, results.length - 1)] ?? 0;
      const result = typeof step === "function" ? step(...args) : step;
      if (typeof result === "number") return result;
      this.#errno = Errno[result as keyof typeof Errno] ?? Number(result.slice(1));
      return -1;
    };
  }
}

/** Waits until `done()` answers true; fails after `deadlineMs`. */
export async function until(done: () => boolean, deadlineMs = 5000): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!done()) {
    assert.ok(performance.now() < deadline, `not so after ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const seed = Number(Deno.env.get("OSYM_FUZZ_SEED") ?? Math.floor(Math.random() * 2 ** 31));
let seedTold = false;

/** Checks a property; the seed is printed once, and OSYM_FUZZ_SEED repeats it. */
export function holds<T>(property: fc.IProperty<T>, numRuns = 500): void {
  if (!seedTold) {
    seedTold = true;
    console.log(`fuzz seed ${seed} (OSYM_FUZZ_SEED=${seed} repeats it)`);
  }
  fc.assert(property, { seed, numRuns });
}

/** Bytes, long enough to hold headers with hostile lengths. */
export const hostileBytes = (maxLength = 256): fc.Arbitrary<Uint8Array<ArrayBuffer>> =>
  fc.oneof(
    fc.uint8Array({ maxLength }),
    // Small numbers and all ones, as lengths are: plain random bytes rarely make one fit.
    fc.array(fc.constantFrom(0, 1, 2, 4, 8, 16, 20, 36, 40, 0x7f, 0x80, 0xff), { maxLength })
      .map((bytes) => new Uint8Array(bytes)),
  ) as fc.Arbitrary<Uint8Array<ArrayBuffer>>;
