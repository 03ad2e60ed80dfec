/** Which question a sentence asks. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Intent, intentOf, wordsOf } from "./intent.ts";

const asked: Readonly<Record<Intent, readonly string[]>> = {
  memory: [
    "what is using the memory?",
    "What's using the memory",
    "what uses the memory?",
    "which process uses the most memory?",
    "who ate all my RAM?!",
    "memory",
    "how much memory is free",
    "Show me the top memory consumers",
    "are we out of memory?",
    "is anything leaking memory",
    "is the machine swapping?",
    "how many MB of RAM are left",
    "WHAT PROCESS IS EATING RAM",
    "mem usage please",
    "ok, so what is using the memory now?",
    "why is memory so full?",
  ],
  cpu: [
    "what is using the cpu?",
    "which process uses the most CPU",
    "how busy is the processor",
    "what's the load average?",
    "load",
    "why is it so slow?",
    "is the machine overloaded",
    "how many cores do I have?",
    "who is burning cpu",
    "Is the CPU idle?",
  ],
  disk: [
    "how full is the disk?",
    "how much disk space is left",
    "is there free space on /data",
    "df",
    "am I running out of disk",
    "storage usage",
    "what is mounted?",
    "how many inodes are left",
    "is the filesystem full?",
  ],
  network: [
    "what is my ip address?",
    "What's your IP?",
    "is the network up?",
    "are you online",
    "am I connected to the internet?",
    "which dns servers do you use",
    "show network interfaces",
    "what is the default gateway",
    "when does the lease end",
    "is eth0 up?",
    "is the network ok?",
    "how much traffic is there",
    "what is the hostname?",
  ],
  processes: [
    "what is running?",
    "list processes",
    "how many processes are there",
    "ps",
    "is sshd running?",
    "are there zombies?",
    "what programs are running",
    "which tasks are running right now",
    "top processes",
  ],
  uptime: [
    "how long have you been up?",
    "uptime",
    "how long has the machine been running?",
    "since when are you up",
    "How long have you been running",
  ],
  events: [
    "what happened last?",
    "what happened?",
    "what just happened",
    "any recent events?",
    "show me the log",
    "what's going on",
    "did anything happen recently",
    "what changed?",
    "what is new?",
    "did anything crash",
    "tell me the latest incidents",
    "what is happening?",
  ],
  health: [
    "is it healthy?",
    "are you healthy",
    "is everything ok?",
    "is the machine ok",
    "how are you?",
    "what's wrong?",
    "any problems?",
    "status",
    "is anything broken",
    "are there errors",
    "how is the system doing",
    "health check",
    "Is everything all right?",
  ],
  services: [
    "which services are running?",
    "list services",
    "is the web service up",
    "what daemons are supervised",
    "did any service restart",
    "how is web",
    "why was dns restarted?",
    "is web running",
  ],
  boot: [
    "why did you reboot?",
    "why did the machine restart",
    "how long did the boot take",
    "how did the last boot end",
    "was there a panic?",
    "did it shut down cleanly",
    "when did you boot",
  ],
  identity: [
    "who are you?",
    "what are you",
    "which version is this",
    "are you an AI?",
    "what kernel do you run",
    "which model are you",
  ],
  help: ["help", "what can you do?", "hello", "hi!", "what can I ask"],
  unknown: [
    "what is the capital of France?",
    "write me a poem",
    "tell me a joke",
    "who won the world cup",
    "what is the meaning of life",
    "asdf qwer",
    "",
    "    ",
    "?!?",
    "42",
    "сколько времени",
    "🤖🤖",
    "please book a flight to Rome",
  ],
};

for (const [intent, sentences] of Object.entries(asked)) {
  Deno.test(`intentOf() understands ${intent}`, () => {
    for (const sentence of sentences) {
      assert.equal(intentOf(sentence, ["web", "dns"]), intent, JSON.stringify(sentence));
    }
  });
}

Deno.test("intentOf() minds neither case, punctuation nor politeness", () => {
  for (const sentence of ["what is using the memory?", "is it healthy?", "what is my ip address"]) {
    const intent = intentOf(sentence);
    assert.equal(intentOf(sentence.toUpperCase()), intent);
    assert.equal(intentOf(`  ${sentence.replaceAll(" ", "   ")}!!  `), intent);
    assert.equal(intentOf(`Please tell me, ${sentence} Thanks.`), intent);
  }
});

Deno.test("intentOf() answers something for any text, quickly", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 400 }), (text) => {
    assert(Object.hasOwn(asked, intentOf(text, ["a.b", "-", "web"])));
  }));
  const from = performance.now();
  for (
    const hostile of [
      "'".repeat(100_000),
      "is ".repeat(50_000),
      "-.".repeat(50_000),
      "\u0300".repeat(50_000),
    ]
  ) {
    intentOf(hostile);
  }
  assert(performance.now() - from < 500);
});

Deno.test("wordsOf() keeps names whole", () => {
  assert.deepEqual(wordsOf("What's /data/x.log, eth0.1: the-thing's?"), [
    ...["what", "is", "data/x.log", "eth0.1", "the-thing", "is"],
  ]);
});
