/**
 * The guest's root: a folder of files with known origins, made into a read-only erofs image.
 *
 * Owns what is in the image and where, and that two builds of the same inputs are the same bytes:
 * fixed owner, modes, times and UUID, sorted content, canonical chunks and code cache. Runs our bundles only in a
 * chroot of their own namespaces, never against the host.
 */

import { join } from "node:path";
import { CommandError, exists, filesBelow, HostError, run } from "./host.ts";
import { debianPackage, packagedFile } from "./packages.ts";
import { canonicalChunks } from "./chunks.ts";
import { canonicaliseCache } from "./codecache.ts";
import { type Manifest, Origins, writeManifest } from "./manifest.ts";

/** The Deno this project is made for; both architectures have it. */
export const DENO_VERSION = "2.9.5";

/** erofs needs some UUID; a random one would make every build different. */
const ROOT_UUID = "05f6b10e-0000-4000-8000-000000000001";

/** Where the V8 code cache is in the tree; DENO_DIR of the kernel command line says the same. */
export const CODE_CACHE = "var/deno";

/**
 * Deno puts into its code cache what V8 compiled with a module, which is next to nothing: a function
 * is compiled when it is first called, at every boot anew. Compiled eagerly, all of it is there.
 */
const EAGER = "--v8-flags=--no-lazy";
/** Flags of PID 1's Deno: nothing is asked, nothing is fetched. */
const OFFLINE = [EAGER, "--no-prompt", "--no-remote", "--no-npm", "--cached-only"];
/** A request's signal aborts when its client leaves, and only then; the old way warns on stderr. */
const ABORT = "--unstable-no-legacy-abort";
/** PID 1 as a bundle beside the deno binary. */
const INIT_BUNDLE = ["/bin/deno", "run", "-A", ABORT, ...OFFLINE, "/osym/boot.js"];
/** PID 1 as one compiled file. */
const INIT_COMPILED = ["/bin/osymbiote"];

/** How often each program runs: what one run loads late, the next one may load early. */
const PREWARM_RUNS = 2;
/** A prewarm run exits by itself; one that does not is a fault of ours. Seconds. */
const PREWARM_TIMEOUT_S = 60;

/** Entry files that become bundles in /osym, and what they are for. */
const BUNDLES = [
  { entry: "src/main.ts", split: true },
  { entry: "subsystems/cortex/mind.ts", split: false },
] as const;

/** Programs of their own: importing one would start it. */
const ENTRIES = new Set(["boot.js", "main.js", "mind.js"]);

/** The page: its bundle; what is beside it and no source is copied as it is. */
const WEB_FOLDER = "src/web";
const WEB_ENTRY = `${WEB_FOLDER}/main.tsx`;
const WEB_NEEDED = [`${WEB_FOLDER}/index.html`, `${WEB_FOLDER}/style.css`];

/** Empty folders: mount points and what programs expect. */
const FOLDERS = [
  ...["bin", "data", "dev", "etc", "mnt", "osym/web", "proc", "run", "sbin", "sys", "tmp"],
  ...["usr/bin", "usr/sbin", CODE_CACHE],
];

/** Small files of /etc. resolv.conf points to where PID 1 writes what DHCP said. */
const ETC: Readonly<Record<string, string>> = {
  passwd: [
    "root:x:0:0:root:/:/bin/sh",
    "mind:x:990:990:caged minds:/:/bin/false",
    "courier:x:991:991:LLM courier:/:/bin/false",
    "journal:x:992:992:event journal:/:/bin/false",
    "nobody:x:65534:65534:nobody:/:/bin/false",
    "",
  ].join("\n"),
  group: [
    "root:x:0:",
    "mind:x:990:",
    "courier:x:991:",
    "journal:x:992:",
    "nogroup:x:65534:",
    "",
  ].join("\n"),
  hosts: "127.0.0.1\tlocalhost osymbiote\n::1\tlocalhost\n",
  hostname: "osymbiote\n",
  "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};

/** BusyBox applets that would be a second init. */
const NO_APPLET = new Set(["init", "linuxrc", "run-init", "switch_root"]);

/** How PID 1 is packed. */
export interface Layout {
  /** Its program in the root, and its arguments. */
  init: readonly string[];
  /** The denort binary that `deno compile` uses; null: no compiling. */
  denort: string | null;
  /** Which layout it is and why, for people. */
  why: string;
}

/**
 * Compiled when DENORT_BIN names a denort (there is none on the package registries), otherwise
 * bundles beside the deno binary. The minds and other children run by deno in both.
 */
export function chooseLayout(denort: string | undefined): Layout {
  if (denort) {
    return { init: INIT_COMPILED, denort, why: `compiled by deno compile with ${denort}` };
  }
  const why = "bundle run by deno: DENORT_BIN names no denort binary to compile with";
  return { init: INIT_BUNDLE, denort: null, why };
}

export interface TreeOptions {
  layout: Layout;
  /** The checkout whose sources are bundled. */
  source: string;
  /** Where the folder of files is made; replaced if it exists. */
  tree: string;
  /** Told what is being done. */
  step?: (what: string) => void;
}

/** Makes the folder of files that every root variant starts from. Throws on a missing source. */
export async function buildTree(options: TreeOptions): Promise<Origins> {
  // Modes in the image are ours and not those of whoever builds it: the mind must get in.
  const umask = Deno.umask(0o022);
  try {
    return await fillTree(options);
  } finally {
    Deno.umask(umask);
  }
}

async function fillTree(options: TreeOptions): Promise<Origins> {
  const { source, tree } = options;
  const step = options.step ?? (() => undefined);
  await requireSources(source);
  await Deno.remove(tree, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  for (const folder of FOLDERS) await Deno.mkdir(join(tree, folder), { recursive: true });
  const origins = new Origins(tree);

  step("Deno and its libraries");
  await addDeno(origins);
  step("BusyBox and e2fsck");
  await addUserland(origins);
  for (const [name, text] of Object.entries(ETC)) {
    await origins.write(`etc/${name}`, text, { kind: "osymbiote", source: "image/rootfs.ts" });
  }
  await origins.link("etc/resolv.conf", "/run/resolv.conf", {
    kind: "osymbiote",
    source: "image/rootfs.ts",
  });

  step("bundles");
  await addBundles(source, origins);
  step("page");
  await addPage(source, origins);
  await addOpenApi(source, origins);
  if (options.layout.denort) await addCompiled(options.layout.denort, origins);
  step("code cache");
  await prewarm(tree, options.layout.init);
  await canonicaliseCache(join(tree, CODE_CACHE));
  return origins;
}

/** Makes the erofs image of a tree with its manifest inside, and returns the manifest. */
export async function writeImage(
  origins: Origins,
  image: string,
  about: Omit<Manifest, "files">,
): Promise<Manifest> {
  const manifest = await writeManifest(origins, about);
  const fresh = `${image}.new`;
  await Deno.remove(fresh).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await run([
    ...["mkfs.erofs", "--quiet", "-T0", "-U", ROOT_UUID, "--all-root"],
    ...[fresh, origins.tree],
  ]);
  await Deno.rename(fresh, image);
  return manifest;
}

async function requireSources(source: string): Promise<void> {
  const entries = BUNDLES.map((bundle) => bundle.entry);
  const needed = ["src/boot.js", ...entries, WEB_ENTRY, ...WEB_NEEDED];
  for (const name of needed) {
    if (!await exists(join(source, name))) throw new Error(`build the image: ${name} is missing`);
  }
}

async function addDeno(origins: Origins): Promise<void> {
  const deno = await Deno.realPath(Deno.execPath());
  if (Deno.version.deno !== DENO_VERSION) {
    throw new Error(
      `build the image: it is made with Deno ${DENO_VERSION}, this is ${Deno.version.deno}`,
    );
  }
  await origins.copy(deno, "bin/deno", 0o755, { kind: "deno", version: DENO_VERSION });
  const { stdout } = await run(["ldd", deno]);
  for (const line of stdout.split("\n")) {
    // "\tlibm.so.6 => /lib/…/libm.so.6 (0x…)" or "\t/lib64/ld-linux-x86-64.so.2 (0x…)"; the
    // vdso has no path.
    const path = /(?:=> |^\t)(\/\S+) \(0x/.exec(line)?.[1];
    if (path === undefined) continue;
    const target = await Deno.realPath(path);
    await origins.copy(target, path.slice(1), 0o755, await debianOrigin(path, target));
  }
}

/** Which installed package a host file belongs to. */
async function debianOrigin(...paths: string[]) {
  for (const path of paths) {
    // dpkg knows a file by the path it was packed with, before or after the /usr merge.
    for (const name of [path, path.replace(/^\/usr/, ""), `/usr${path}`]) {
      const { code, stdout } = await run(["dpkg-query", "-S", name], { accept: [0, 1] });
      const owner = /^([a-z0-9][a-z0-9+.-]*)(?::\w+)?: /.exec(stdout)?.[1];
      if (code !== 0 || !owner) continue;
      const query = ["dpkg-query", "-W", "-f", "${Version}\n", owner];
      const version = (await run(query)).stdout.split("\n")[0] ?? "";
      return { kind: "debian", package: owner, version } as const;
    }
  }
  throw new Error(`find the origin of ${paths[0]}: no installed package owns it`);
}

async function addUserland(origins: Origins): Promise<void> {
  const busybox = await debianPackage("busybox-static");
  const program = await packagedFile(busybox, "bin/busybox");
  const origin = { kind: "debian", package: busybox.name, version: busybox.version } as const;
  await origins.copy(program, "bin/busybox", 0o755, origin);
  const { stdout } = await run([program, "--list-full"]);
  for (const applet of stdout.trim().split("\n").sort()) {
    const name = applet.slice(applet.lastIndexOf("/") + 1);
    if (name === "busybox" || NO_APPLET.has(name)) continue;
    await origins.link(applet, "/bin/busybox", origin);
  }
  const e2fsck = await debianPackage("e2fsck-static");
  await origins.copy(await packagedFile(e2fsck, "sbin/e2fsck.static"), "sbin/e2fsck", 0o755, {
    kind: "debian",
    package: e2fsck.name,
    version: e2fsck.version,
  });
}

async function addBundles(source: string, origins: Origins): Promise<void> {
  // Copied as it is: it has no dependency, and must stay readable in the guest.
  await origins.copy(join(source, "src/boot.js"), "osym/boot.js", 0o644, ours("src/boot.js"));
  for (const { entry, split } of BUNDLES) {
    const flags = split ? ["--code-splitting"] : [];
    for (const name of await bundle(source, entry, join(origins.tree, "osym"), flags)) {
      await origins.note(`osym/${name}`, 0o644, ours(entry));
    }
  }
}

async function addPage(source: string, origins: Origins): Promise<void> {
  const folder = join(origins.tree, "osym/web");
  await bundle(source, WEB_ENTRY, folder, ["--platform", "browser"]);
  await Deno.rename(join(folder, "main.js"), join(folder, "app.js"));
  await origins.note("osym/web/app.js", 0o644, ours(WEB_ENTRY));
  for (const name of await filesBelow(join(source, WEB_FOLDER))) {
    if (/\.tsx?$/.test(name)) continue;
    const file = `${WEB_FOLDER}/${name}`;
    await origins.copy(join(source, file), `osym/web/${name}`, 0o644, ours(file));
  }
}

/** Bundles one entry file into a folder and returns the names of the files it made. */
async function bundle(
  source: string,
  entry: string,
  folder: string,
  flags: readonly string[],
): Promise<string[]> {
  const fresh = `${folder}/.bundle`;
  // The lock file is frozen: what goes into the image is what was reviewed.
  const argv = [Deno.execPath(), "bundle", "--quiet", "--frozen", "--minify", ...flags];
  await run([...argv, "--outdir", fresh, entry], { cwd: source, env: { NO_COLOR: "1" } });
  const made = new Map<string, string>();
  for await (const { name } of Deno.readDir(fresh)) {
    made.set(name, await Deno.readTextFile(join(fresh, name)));
  }
  await Deno.remove(fresh, { recursive: true });
  const files = await canonicalChunks(made);
  for (const [name, text] of files) await Deno.writeTextFile(join(folder, name), text);
  return [...files.keys()].sort();
}

/** The API's document is generated once, here, and served as a file. */
async function addOpenApi(source: string, origins: Origins): Promise<void> {
  const module = "src/http/openapi.ts";
  if (!await exists(join(source, module))) return;
  const program = `import { openApiDocument } from "./${module}";` +
    `Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(await openApiDocument())));`;
  const argv = [Deno.execPath(), "run", "--quiet", "--frozen", "-A", "--ext=ts", "-"];
  const { stdout } = await run(argv, { cwd: source, stdin: program, env: { NO_COLOR: "1" } });
  await origins.write("osym/openapi.json", stdout, ours(module));
}

/** PID 1 as one file: boot.js with the bundle embedded, its permissions and flags fixed. */
async function addCompiled(denort: string, origins: Origins): Promise<void> {
  const osym = join(origins.tree, "osym");
  const program = INIT_COMPILED[0] ?? "";
  const chunks = await Array.fromAsync(Deno.readDir(osym));
  const includes = chunks.filter(({ name }) => name.endsWith(".js") && name !== "boot.js")
    .map(({ name }) => `--include=${join(osym, name)}`);
  await run([
    ...[Deno.execPath(), "compile", "--quiet", "-A", ABORT, "--no-prompt"],
    ...["--no-check", "--no-config"],
    ...[...includes, "--output", join(origins.tree, program), join(osym, "boot.js")],
  ], { env: { DENORT_BIN: denort, NO_COLOR: "1" } });
  await origins.note(program.slice(1), 0o755, ours("src/boot.js"));
}

function ours(source: string) {
  return { kind: "osymbiote", source } as const;
}

/**
 * Mounts what a program needs to start, on memory: nothing but the code cache is left behind.
 * $1 is the tree, the rest is the program.
 */
const CHROOT_SCRIPT = `set -e
tree=$1; shift
mount -t proc proc "$tree/proc"
for dir in dev run tmp data sys; do mount -t tmpfs -o mode=0755 tmpfs "$tree/$dir"; done
for node in null zero urandom; do
  touch "$tree/dev/$node"; mount --bind "/dev/$node" "$tree/dev/$node"
done
"$tree/bin/busybox" ip link set lo up
exec chroot "$tree" "$@"`;

async function prewarm(tree: string, init: readonly string[]): Promise<void> {
  const deno = ["/bin/deno", "run", ...OFFLINE];
  // Deno caches a module's code when it is loaded, so parts loaded on demand are loaded here too,
  // whether or not PID 1's own prewarming thinks of them.
  const parts = (await filesBelow(join(tree, "osym"))).filter((name) =>
    /^[^/]+\.js$/.test(name) && !ENTRIES.has(name)
  );
  const program = parts.map((name) => `await import("file:///osym/${name}");`).join("\n");
  for (let i = 0; i < PREWARM_RUNS; i++) {
    await runInTree(tree, init);
    await runInTree(tree, [...deno, "-A", "-"], program);
  }
}

/**
 * Runs a program in a chroot of the tree as pid 1 of its own namespaces: no network, no host
 * process in sight, and a stray reboot() ends the namespace only.
 */
async function runInTree(
  tree: string,
  argv: readonly string[],
  stdin?: string,
): Promise<void> {
  const user = Deno.uid() === 0 ? [] : ["--map-root-user"];
  const namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts"];
  const command = [
    ...["timeout", "--signal=KILL", String(PREWARM_TIMEOUT_S)],
    ...["unshare", ...user, ...namespaces, "--fork", "--kill-child"],
    ...["sh", "-c", CHROOT_SCRIPT, "prewarm", tree, ...argv],
  ];
  const running = run(command, {
    stdin,
    clearEnv: true,
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: "/",
      TERM: "linux",
      NO_COLOR: "1",
      DENO_DIR: `/${CODE_CACHE}`,
      DENO_NO_UPDATE_CHECK: "1",
      OSYM_PREWARM: "1",
    },
  });
  await running.catch((error) => {
    const refusal = error instanceof CommandError && /^unshare: .*$/m.exec(error.message);
    if (!refusal) throw error;
    throw new HostError(
      `prepare the code cache: ${
        refusal[0]
      }. This host lets this user make no namespaces: build as ` +
        "root, or allow it (Ubuntu: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0)",
    );
  });
}
