/** Answers by rules: true, plain, bounded. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { maxReplyBytes, type MindState } from "./frames.ts";
import { answer } from "./survival.ts";
import { processOf, serviceOf, stateOfTest } from "./testing.ts";

const MB = 1_048_576;
const say = (message: string, about: Partial<MindState> = {}) =>
  answer(message, stateOfTest(about)).reply;

Deno.test("answer() says what uses the memory, largest first, with the totals", () => {
  const { reply, intent } = answer("what is using the memory?", stateOfTest());
  assert.equal(intent, "memory");
  assert.equal(
    reply,
    "128 MB of 512 MB memory is in use (25%), 384 MB is available; the file cache holds 90.0 MB. " +
      "Of the programs, most is held by deno (pid 1) 96.0 MB (19%), stress (pid 77) 24.0 MB (4.7%), " +
      "httpd (pid 300) 2.0 MB (0.4%), sh (pid 301) 1.0 MB (0.2%).",
  );
});

Deno.test("answer() says what uses the CPU", () => {
  assert.equal(
    say("what is using the cpu?"),
    "The CPU is 20% busy (15% programs, 5.0% kernel, 0% waiting for disks) over 2 cores. Load is " +
      "0.25, 0.50, 0.75 over 1, 5 and 15 minutes. Busiest: stress (pid 77) 55% of a core, " +
      "deno (pid 1) 12% of a core.",
  );
  assert.match(say("cpu?", { processes: [] }), /No program uses a noticeable share of it\.$/);
});

Deno.test("answer() says how full the disks are", () => {
  assert.equal(
    say("how full is the disk?"),
    "/data: 750 MB of 1000 MB free (25% used, 1.6% of its inodes).",
  );
  const { sample } = stateOfTest();
  const image = { mount: "/", total: 100 * MB, free: 0, inodes: 900, inodes_free: 0 };
  assert.match(
    say("disk space?", { sample: { ...sample!, disks: [image] } }),
    /^\/: 0\.0 MB of 100 MB free \(100% used, as a read-only image always is\)\.$/,
  );
  assert.match(say("disk?", { sample: { ...sample!, disks: [] } }), /^No disk is mounted/);
});

Deno.test("answer() says how the network is", () => {
  const reply = say("what is my ip address?");
  assert.match(
    reply,
    /^This machine is osymbiote\. eth0 \(52:54:00:12:34:56\) is up with 10\.0\.2\.15\/24/,
  );
  assert.match(reply, /receives 2\.0 KB\/s and sends 1\.0 KB\/s\./);
  assert.match(reply, /The default route goes through 10\.0\.2\.2\./);
  assert.match(reply, /eth0 leased 10\.0\.2\.15 from 10\.0\.2\.2 for 1 d\./);
  assert.match(reply, /DNS: 10\.0\.2\.3\.$/);
  const { network } = stateOfTest();
  const [lease] = network.leases;
  assert.match(
    say("lease?", { network: { ...network, leases: [{ ...lease!, lease_s: 0xffff_ffff }] } }),
    /eth0 leased 10\.0\.2\.15 from 10\.0\.2\.2 for ever\./,
  );
  const six = { destination: "default", gateway: "fe80::2", link: "eth0" };
  assert.match(
    say("gateway?", { network: { ...network, routes: [six, ...network.routes] } }),
    /The default route goes through 10\.0\.2\.2, fe80::2\./,
  );
  const bare = {
    ...network,
    routes: [],
    leases: [],
    dns: [],
    links: network.links.map((link) => ({ ...link, carrier: false, addresses: [] })),
  };
  const cut = say("is the network up?", { network: bare });
  assert.match(cut, /is up without a carrier with no address/);
  assert.match(cut, /There is no default route/);
  assert.match(cut, /No DNS server is known/);
  assert.match(say("network?", { network: { ...bare, links: [] } }), /has no network interface/);
});

Deno.test("answer() says what runs, and tells of one process by name or pid", () => {
  const reply = say("what is running?");
  assert.match(reply, /^There are 5 processes: 4 programs and 1 kernel threads\. By memory: deno/);
  assert.equal(
    say("tell me about process 77"),
    "stress (pid 77) is a program of user 0, running, child of pid 1, 1 thread, 24.0 MB of " +
      "memory, 55% of a core.",
  );
  assert.match(say("is httpd running?"), /^httpd \(pid 300\) is a program/);
  assert.match(say("is sshd running?"), /^No process is named sshd\. There are 5 processes/);
  assert.match(
    say("is sshd running?", { process_count: 900 }),
    /^Among those I was told of, no process is named sshd\. There are 900 processes; I was told of the 5/,
  );
  const zombie = processOf({ pid: 9, comm: "gone", state: "Z" });
  assert.match(say("any zombies?", { processes: [zombie] }), /Zombies or stuck.*: gone \(pid 9\)/);
});

Deno.test("answer() takes no number or ordinary word for a process", () => {
  const { processes } = stateOfTest();
  assert.match(say("show me the 77 biggest processes"), /^There are 5 processes/);
  assert.match(say("what is pid 77?"), /^stress \(pid 77\)/);
  const top = processOf({ pid: 400, comm: "top" });
  const withTop = { processes: [...processes, top] };
  assert.match(say("what are the top processes?", withTop), /^There are/);
  assert.match(say("is top running?", withTop), /^top \(pid 400\)/);
  const long = processOf({ pid: 401, comm: "a-daemon-with-a" });
  assert.match(
    say("is a-daemon-with-a-long-name running?", { processes: [...processes, long] }),
    /^a-daemon-with-a \(pid 401\)/,
    "the kernel keeps fifteen bytes of a name",
  );
});

Deno.test("answer() says of a kernel thread only what is looked at more than once", () => {
  assert.equal(say("what is pid 2?"), "kthreadd (pid 2) is a kernel thread, child of pid 0.");
  const busy = processOf({ pid: 9, comm: "kworker", state: "D", kernel: true });
  assert.equal(say("processes?", { processes: [busy] }).includes("stuck"), false);
});

Deno.test("answer() says how long it has been up", () => {
  assert.equal(
    say("how long have you been up?"),
    "The machine has been up for 1 h 2 min, since 2030-01-02T02:02:02Z. This is boot " +
      "abcdef0123456789, attempt 1.",
  );
});

Deno.test("answer() says what happened, newest first", () => {
  assert.equal(
    say("what happened last?"),
    "Newest first: 2.0 s ago eth0 got its carrier; 5.0 s ago eth0 lost its carrier; " +
      "1 min 30 s ago eth0 leased 10.0.2.15 from 10.0.2.2; 1 h 1 min ago the system was ready.",
  );
  assert.match(say("what happened?", { events: [] }), /^Nothing worth telling/);
  const odd = {
    seq: 1,
    type: "odd.thing",
    time: 0,
    data: { a: 1, b: "x", c: null, d: true, e: 2 },
  };
  assert.match(say("what happened?", { events: [odd] }), /odd\.thing a=1 b=x c=null d=true/);
});

/** The system's fault `ago` ms ago, as the catalogue has it. */
const faultOf = (seq: number, ago: number) => ({
  seq,
  type: "system.fault",
  time: stateOfTest().now - ago,
  data: { where: "http", message: "ENOENT", stack: "Error: ENOENT\n at x", count: seq },
});

Deno.test("answer() tells what happens again and again once, without its stack", () => {
  const up = {
    seq: 9,
    type: "link.up",
    time: stateOfTest().now - 9000,
    data: { index: 2, link: "eth0" },
  };
  assert.equal(
    say("what happened?", { events: [up, faultOf(10, 6000), faultOf(11, 4000)] }),
    "Newest first: 4.0 s ago the system caught a fault of its own (http: ENOENT) (2 times); " +
      "9.0 s ago eth0 got its carrier.",
  );
});

Deno.test("answer() says that it is healthy only when nothing it knows is wrong", () => {
  assert.equal(
    say("is it healthy?"),
    "Yes, it is healthy as far as I can see: 384 MB of memory available, CPU 20% busy, up for " +
      "1 h 2 min, 2 of 2 services running, nothing degraded.",
  );
  const { sample, network, boot } = stateOfTest();
  const wrong: [Partial<MindState>, RegExp][] = [
    [{ degraded: [{ part: "data", reason: "no disk", since: 0 }] }, /data is degraded: no disk/],
    [
      { services: [serviceOf({ state: "failed", pid: null, reason: "exec: ENOENT" })] },
      /Service web is failed, exec: ENOENT/,
    ],
    [{ services: [serviceOf({ state: "backoff", backoff_ms: 5000 })] }, /starts again in 5\.0 s/],
    [{ sensors: [{ name: "kmsg", state: "failed", gaps: 0 }] }, /sensor kmsg has failed/],
    [
      { sample: { ...sample!, memory: { ...sample!.memory, available: 20 * MB } } },
      /Only 20\.0 MB of 512 MB memory is available/,
    ],
    [
      {
        sample: { ...sample!, cpu: { ...sample!.cpu, busy: 0.99 }, load: [9, 8, 7] },
      },
      /The CPU is 99% busy, load 8\.00 on 2/,
    ],
    [
      { sample: { ...sample!, disks: [{ ...sample!.disks[0]!, free: 10 * MB }] } },
      /\/data has 10\.0 MB of 1000 MB left/,
    ],
    [
      { sample: { ...sample!, disks: [{ ...sample!.disks[0]!, free: 0 }] } },
      /\/data has 0\.0 MB of 1000 MB left/,
    ],
    [
      { sample: { ...sample!, disks: [{ ...sample!.disks[0]!, inodes_free: 3 }] } },
      /\/data runs out of inodes/,
    ],
    [
      { network: { ...network, links: network.links.map((l) => ({ ...l, addresses: [] })) } },
      /No network interface has an address/,
    ],
    [
      { processes: Array.from({ length: 9 }, (_, pid) => processOf({ pid, state: "Z" })) },
      /9 processes are zombies/,
    ],
    [
      { boot: { ...boot, last_stop: { kind: "panic", text: "Oops" } } },
      /The boot before ended in a kernel panic/,
    ],
    [{ boot: { ...boot, rescue: true } }, /rescue mode/],
    [{ events: [faultOf(7, 60_000)] }, /1 min ago the system caught a fault of its own \(http: /],
  ];
  for (const [about, fault] of wrong) {
    const reply = say("is it healthy?", about);
    assert.match(reply, /^Not entirely\. 1\. /);
    assert.match(reply, fault);
  }
  assert.match(say("is it healthy?", { events: [faultOf(7, 3_600_000)] }), /^Yes, it is healthy/);
});

Deno.test("answer() says what the services do", () => {
  assert.equal(
    say("which services are running?"),
    "2 services declared. web is running, pid 300. dns is running, pid 310, restarted 2 times, " +
      "last ended by SIGKILL.",
  );
  assert.equal(say("how is web?"), "web is running, pid 300.");
  assert.equal(say("services?", { services: [] }), "No service is declared.");
  const some = { services: [serviceOf({})], service_count: 30 };
  assert.equal(
    say("services?", some),
    "30 services declared. web is running, pid 300. And 29 more.",
  );
  assert.match(say("healthy?", some), /30 services declared, nothing degraded\.$/);
});

Deno.test("answer() says how the last boot ended and how this one went", () => {
  const { boot } = stateOfTest();
  assert.match(
    say("why did you reboot?", {
      boot: { ...boot, last_stop: { kind: "panic", text: "Attempted to kill init!" }, attempt: 2 },
    }),
    /^The boot before ended in a kernel panic: Attempted to kill init!\. This boot was ready 1\.2 s after PID 1 began, the kernel having run 0\.6 s before\. Attempt 2,/,
  );
  assert.match(say("when did you boot?", { boot: { ...boot, ready_ms: null } }), /not ready yet/);
});

Deno.test("answer() says plainly what it is and what it cannot", () => {
  for (const question of ["who are you?", "what is the capital of France?", "help"]) {
    const reply = say(question);
    assert.match(reply, /survival mode/);
    assert.match(reply, /no language model/);
  }
  const { reply, intent } = answer("what is the capital of France?", stateOfTest());
  assert.equal(intent, "unknown");
  assert.match(reply, /I have no rule for that question\. I can answer about memory, CPU and load/);
});

Deno.test("answer() admits that it was told nothing, or nothing yet", () => {
  assert.match(answer("memory?", null).reply, /^I have not been told anything/);
  assert.match(answer("help", null).reply, /survival mode/);
  for (const question of ["memory?", "cpu?", "disk?", "uptime?"]) {
    assert.match(say(question, { sample: null }), /^No reading of .* was taken yet/);
  }
  assert.match(say("is it healthy?", { sample: null }), /no reading of the machine/);
});

Deno.test("answer() shows what could move a cursor or turn text around", () => {
  const evil = processOf({ pid: 66, comm: "a\x1b[2J\u202eb\nc", rss: 99 * MB });
  const reply = say("memory?", { processes: [evil] });
  assert.match(reply, /a\ufffd\[2J\ufffdb\ufffdc \(pid 66\)/);
});

const questions = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.constantFrom(
    ...["memory", "cpu", "disk", "network", "what is running", "is x running", "uptime"],
    ...["what happened", "is it ok", "services", "why did you reboot", "who are you", "help"],
  ),
);
const bytesOf = (text: string) => new TextEncoder().encode(text).length;

/** A value of the same outline with hostile leaves: odd numbers, long and odd strings, long lists. */
function hostile(value: unknown): fc.Arbitrary<unknown> {
  if (typeof value === "number") {
    return fc.oneof(fc.double(), fc.constantFrom(0, -1, NaN, Infinity, -Infinity, 1e300));
  }
  if (typeof value === "string") {
    return fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.constantFrom("x".repeat(9000), "\u{1f600}".repeat(3000), "\ud800", "", "__proto__"),
    );
  }
  if (Array.isArray(value)) {
    return value.length === 0
      ? fc.constant([])
      : fc.array(hostile(value[0]), { maxLength: 30, size: "max" });
  }
  if (value !== null && typeof value === "object") {
    return fc.record(
      Object.fromEntries(Object.entries(value).map(([key, item]) => [key, hostile(item)])),
    );
  }
  return fc.constant(value);
}

Deno.test("answer() never throws and is at most 4 KB, whatever it is asked and told", () => {
  const states = hostile(stateOfTest()) as fc.Arbitrary<MindState>;
  fc.assert(
    fc.property(questions, states, (question, state) => {
      const { reply } = answer(question, state);
      assert(reply.length > 0 && bytesOf(reply) <= maxReplyBytes, `${bytesOf(reply)} bytes`);
      assert.equal(reply.isWellFormed(), true);
    }),
    { numRuns: 300 },
  );
});

Deno.test("answer() never throws on a state that is none", () => {
  const states = fc.anything() as fc.Arbitrary<MindState>;
  fc.assert(fc.property(questions, states, (question, state) => {
    assert(bytesOf(answer(question, state).reply) <= maxReplyBytes);
  }));
  assert.match(
    answer("memory?", {} as MindState).reply,
    /^I can not tell: what I was told is damaged/,
  );
});
