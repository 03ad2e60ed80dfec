/**
 * Prewarming: what the image build runs, at the paths the machine will use, so
 * that V8's code cache holds what a boot loads. The runtime loads much of itself
 * on first use (its server, timers, child processes, streams) and caches that
 * code only if it was used here: so everything a boot uses is used once.
 *
 * It touches no kernel interface of ours and leaves nothing behind.
 */
import { loadZod, schema } from "../bus/schema.ts";
import { execArgs } from "../bus/shapes.ts";
import { imageLaunch } from "../subsystems/cortex/host.ts";
import { openLibc } from "./kernel/libc.ts";

/** Imports and uses what PID 1 imports and uses, early and late, and ends. */
export async function prewarm(): Promise<void> {
  await Promise.all([import("./wiring.ts"), import("./console/console.ts"), loadZod()]);
  (await schema(execArgs)).parse({ argv: ["true"] });
  openLibc().close();
  Deno.addSignalListener("SIGCHLD", () => {});
  await useTimers();
  await useFiles();
  await useServer();
  await useChild();
  await useMind();
  crypto.randomUUID();
  await crypto.subtle.digest("SHA-256", new Uint8Array(1));
}

async function useTimers(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  clearInterval(setInterval(() => {}, 1000));
  performance.now();
}

async function useFiles(): Promise<void> {
  await Deno.writeTextFile("/tmp/prewarm", "x");
  await Deno.readTextFile("/tmp/prewarm");
  await Deno.readFile("/tmp/prewarm");
  using file = await Deno.open("/tmp/prewarm", { read: true });
  await file.read(new Uint8Array(1));
  Deno.readTextFileSync("/tmp/prewarm");
  for await (const _ of Deno.readDir("/tmp")) break;
  for (const _ of Deno.readDirSync("/tmp")) break;
  Deno.mkdirSync("/tmp/prewarm.d");
  Deno.removeSync("/tmp/prewarm.d");
}

/** One request, one upgraded socket, one stream: what the page asks for first. */
async function useServer(): Promise<void> {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    if (request.headers.get("upgrade") === "websocket") {
      const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "osym.v1" });
      socket.onopen = () => socket.close();
      return response;
    }
    const { readable, writable } = new TransformStream<Uint8Array>();
    const writer = writable.getWriter();
    writer.write(new Uint8Array(1)).then(() => writer.close()).catch(() => {
      // The client read what it wanted.
    });
    return new Response(readable, { headers: new Headers({ "x-prewarm": request.url }) });
  });
  const { port } = server.addr as Deno.NetAddr;
  await (await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "{}" })).text();
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, ["osym.v1"]);
  await new Promise((resolve) => socket.onclose = resolve);
  await server.shutdown();
}

async function useChild(): Promise<void> {
  const command = new Deno.Command("/bin/busybox", {
    args: ["true"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    clearEnv: true,
    detached: true,
  });
  const child = command.spawn();
  await child.stdin.close();
  for await (const _ of child.stdout) break;
  await child.stderr.cancel();
  await child.status;
}

/** The mind's own program: with nothing on its standard input it ends by itself. */
async function useMind(): Promise<void> {
  const [program, ...args] = imageLaunch.argv;
  const { env } = imageLaunch;
  const mind = new Deno.Command(program!, { args, env, clearEnv: true, stdin: "null" });
  const { success, stderr } = await mind.output();
  if (!success) throw new Error(`prewarm the mind: ${new TextDecoder().decode(stderr)}`);
}
