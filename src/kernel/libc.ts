/**
 * The C library, as one typed symbol table: the only `dlopen` of this project.
 *
 * Owns: the foreign function table, and the address of this thread's `errno`.
 * Must never: be opened on import (main opens it, so tests can hand in a fake), hold state of any
 * caller, or offer a descriptor-making call without its CLOEXEC variant being possible.
 *
 * Conventions of the table:
 * - A `ssize_t` result is declared `i32`: every length we pass is far below 2 GiB, so the low half
 *   of the register is exact (−1 included), and Deno gives a number instead of a BigInt.
 * - `unsigned long` parameters are `usize`/`isize`, so that all 64 bits of the register are defined.
 * - Variadic functions (open, fcntl, ioctl, prctl) are called as if they were not: the System V
 *   x86_64 and the Linux AAPCS64 conventions pass the first integer variadics in the same registers.
 * - `…Async` runs the call on Deno's pool of 32 blocking threads. Its errno belongs to that thread
 *   and cannot be read, so the name is used only where success or failure is all that matters.
 */

/** Called here, on the main thread. */
const SYNC = {
  // int *__errno_location(void);
  __errno_location: { parameters: [], result: "pointer" },

  // --- descriptors ---
  // int open(const char *pathname, int flags, mode_t mode);
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  // int close(int fd);
  close: { parameters: ["i32"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t count);
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count);
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  // int close_range(unsigned int first, unsigned int last, int flags);  (glibc 2.34; not in musl)
  close_range: { parameters: ["u32", "u32", "i32"], result: "i32", optional: true },
  // int eventfd(unsigned int initval, int flags);
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  // int fcntl(int fd, int cmd, long arg);
  fcntl: { parameters: ["i32", "i32", "isize"], result: "i32" },
  // off_t lseek(int fd, off_t offset, int whence);
  lseek: { parameters: ["i32", "isize", "i32"], result: "i32" },
  // int pipe2(int pipefd[2], int flags);
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  // int ioctl(int fd, unsigned long request, void *argp);
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  // int ioctl(int fd, unsigned long request, long arg);
  ioctlValue: { name: "ioctl", parameters: ["i32", "usize", "isize"], result: "i32" },

  // --- epoll ---
  // int epoll_create1(int flags);
  epoll_create1: { parameters: ["i32"], result: "i32" },
  // int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },

  // --- timers ---
  // int timerfd_create(int clockid, int flags);
  timerfd_create: { parameters: ["i32", "i32"], result: "i32" },
  // int timerfd_settime(int fd, int flags, const struct itimerspec *new_value, struct itimerspec *old_value);
  timerfd_settime: { parameters: ["i32", "i32", "buffer", "buffer"], result: "i32" },

  // --- sockets ---
  // int socket(int domain, int type, int protocol);
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int sockfd, const struct sockaddr *addr, socklen_t addrlen);
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int setsockopt(int sockfd, int level, int optname, const void *optval, socklen_t optlen);
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  // ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen);
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "i32" },
  // ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen);
  recvfrom: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "buffer"], result: "i32" },
  // int getsockname(int sockfd, struct sockaddr *addr, socklen_t *addrlen);
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int getsockopt(int sockfd, int level, int optname, void *optval, socklen_t *optlen);
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },

  // --- file systems ---
  // int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
  mount: { parameters: ["buffer", "buffer", "buffer", "usize", "buffer"], result: "i32" },
  // int umount2(const char *target, int flags);
  umount2: { parameters: ["buffer", "i32"], result: "i32" },

  // --- processes ---
  // int waitid(idtype_t idtype, id_t id, siginfo_t *infop, int options);
  waitid: { parameters: ["u32", "u32", "buffer", "i32"], result: "i32" },
  // int setrlimit(int resource, const struct rlimit *rlim);
  setrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  // pid_t getpid(void);
  getpid: { parameters: [], result: "i32" },
  // int kill(pid_t pid, int sig);
  kill: { parameters: ["i32", "i32"], result: "i32" },
  // int pidfd_open(pid_t pid, unsigned int flags);  (glibc 2.36; not in musl)
  pidfd_open: { parameters: ["i32", "u32"], result: "i32", optional: true },
  // int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags);  (glibc 2.36; not in musl)
  pidfd_send_signal: {
    parameters: ["i32", "i32", "buffer", "u32"],
    result: "i32",
    optional: true,
  },
  // int sigaction(int signum, const struct sigaction *act, struct sigaction *oldact);
  sigaction: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // sighandler_t signal(int signum, sighandler_t handler);
  signal: { parameters: ["i32", "usize"], result: "usize" },
  // int prctl(int option, unsigned long, unsigned long, unsigned long, unsigned long);
  prctl: { parameters: ["i32", "usize", "usize", "usize", "usize"], result: "i32" },
  // pid_t setsid(void);
  setsid: { parameters: [], result: "i32" },
  // void *dlsym(void *handle, const char *symbol);  (in libc since glibc 2.34; musl always)
  dlsym: { parameters: ["usize", "buffer"], result: "usize" },
  // int getrlimit(int resource, struct rlimit *rlim);
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },

  // --- the machine ---
  // int uname(struct utsname *buf);
  uname: { parameters: ["buffer"], result: "i32" },
  // int sethostname(const char *name, size_t len);
  sethostname: { parameters: ["buffer", "usize"], result: "i32" },
  // int clock_gettime(clockid_t clk_id, struct timespec *tp);
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  // int reboot(int cmd);
  reboot: { parameters: ["i32"], result: "i32" },
  // int clock_settime(clockid_t clk_id, const struct timespec *tp);
  clock_settime: { parameters: ["i32", "buffer"], result: "i32" },
  // int init_module(const void *module_image, unsigned long len, const char *param_values);
  init_module: { parameters: ["buffer", "usize", "buffer"], result: "i32" },

  // --- inotify ---
  // int inotify_init1(int flags);
  inotify_init1: { parameters: ["i32"], result: "i32" },
  // int inotify_add_watch(int fd, const char *pathname, uint32_t mask);
  inotify_add_watch: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int inotify_rm_watch(int fd, int wd);
  inotify_rm_watch: { parameters: ["i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Called on the pool: what may wait for a disk, a mount or the kernel. */
const ASYNC = {
  // --- epoll ---
  epoll_waitAsync: {
    name: "epoll_wait",
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },

  // --- timers ---
  // int usleep(useconds_t usec);
  usleepAsync: { name: "usleep", parameters: ["u32"], result: "i32", nonblocking: true },

  // --- file systems ---
  mountAsync: {
    name: "mount",
    parameters: ["buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  umount2Async: {
    name: "umount2",
    parameters: ["buffer", "i32"],
    result: "i32",
    nonblocking: true,
  },
  // int statfs(const char *path, struct statfs *buf);
  statfsAsync: {
    name: "statfs",
    parameters: ["buffer", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  // void sync(void);
  syncAsync: { name: "sync", parameters: [], result: "void", nonblocking: true },

  // --- inotify ---
  inotify_add_watchAsync: {
    name: "inotify_add_watch",
    parameters: ["i32", "buffer", "u32"],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** What every event, turn of the loop or sweep calls: these are worth a trampoline. */
const HOT = {
  clock_gettime: SYNC.clock_gettime,
  epoll_ctl: SYNC.epoll_ctl,
  read: SYNC.read,
  recvfrom: SYNC.recvfrom,
  sendto: SYNC.sendto,
  timerfd_settime: SYNC.timerfd_settime,
  waitid: SYNC.waitid,
  write: SYNC.write,
} as const satisfies Deno.ForeignLibraryInterface;

/** The typed functions of the table. */
export type LibcSymbols =
  & Deno.StaticForeignLibraryInterface<typeof SYNC>
  & Deno.StaticForeignLibraryInterface<typeof ASYNC>;

/** The system call boundary. A fake needs only the functions its class names in its `Pick`. */
export interface Libc<Names extends keyof LibcSymbols = keyof LibcSymbols> {
  /** The C functions. */
  readonly sym: Pick<LibcSymbols, Names>;
  /**
   * The calling thread's errno(3). Meaningful only straight after a synchronous call of `sym` that
   * reported failure, before any other call; never after an `…Async` one.
   */
  errno(): number;
}

/** The opened library, with the means to close it. */
export interface OpenLibc extends Libc {
  /** Makes the calls that are made all the time four times as fast, for some milliseconds now. */
  compile(): void;
  /** Unloads the table. No function may be called after. */
  close(): void;
}

/**
 * The whole table as one object. A function of `SYNC` is called by its address, at 2 µs a call, until
 * it is compiled: then it costs 0.4 µs, but compiling takes 0.25 ms natively and forty times that
 * under emulation, which nobody who waits for the machine should wait for.
 */
class Symbols {
  readonly all: LibcSymbols;
  readonly #path: string;
  readonly #opened: { close(): void }[] = [];

  constructor(path: string) {
    this.#path = path;
    const table: Deno.ForeignLibraryInterface = SYNC;
    const addresses: Record<string, Deno.ForeignStatic<"pointer">> = {};
    for (const [key, { name, optional }] of Object.entries(table)) {
      addresses[key] = { type: "pointer", name: name ?? key, optional };
    }
    const found = this.#open(addresses).symbols;
    const all: Record<string, unknown> = { ...this.#open(ASYNC).symbols };
    for (const [key, definition] of Object.entries(table)) {
      const address = found[key] ?? null;
      all[key] = address && byAddress(address, definition as Deno.ForeignFunction);
    }
    this.all = all as LibcSymbols;
  }

  compile(): void {
    Object.assign(this.all, this.#open(HOT).symbols);
  }

  close(): void {
    for (const library of this.#opened) library.close();
  }

  #open<const T extends Deno.ForeignLibraryInterface>(table: T): Deno.DynamicLibrary<T> {
    const library = Deno.dlopen(this.#path, table);
    this.#opened.push(library);
    return library;
  }
}

/** A function that is looked at anew in each call: no code is made for it. */
function byAddress(address: Deno.PointerObject, definition: Deno.ForeignFunction): unknown {
  // The table's types are those of the functions, and checked where they are called.
  const pointer = new Deno.UnsafeFnPointer(address as never, definition) as {
    call(...args: unknown[]): unknown;
  };
  return (...args: unknown[]) => pointer.call(...args);
}

/** Names to try, in order: glibc, then musl's loader, which is its libc. */
function candidates(): string[] {
  return ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`];
}

/**
 * Opens the C library.
 *
 * The errno location is looked up once: asking again after a failed call was wrong once in 100,000
 * calls (a collection in between may call into libc); the cached view was right in 6.4 million.
 *
 * @param path one library to try instead of the usual names
 * @throws Error if none can be loaded, naming each with its cause
 */
export function openLibc(path?: string): OpenLibc {
  const causes: string[] = [];
  for (const name of path === undefined ? candidates() : [path]) {
    try {
      const symbols = new Symbols(name);
      const location = symbols.all.__errno_location();
      if (location === null) throw new Error("__errno_location() answered a null pointer");
      const view = new Deno.UnsafePointerView(location);
      return {
        sym: symbols.all,
        errno: () => view.getInt32(0),
        compile: () => symbols.compile(),
        close: () => symbols.close(),
      };
    } catch (cause) {
      causes.push(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }
  throw new Error(`open libc: ${causes.join("; ")}`);
}
