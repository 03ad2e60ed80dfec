/**
 * Intent: which of the questions it can answer a sentence asks, by the words in it.
 *
 * Owns the vocabulary. Pure; it must never guess: a sentence with no word it knows is `unknown`,
 * which is an honest answer.
 */

export type Intent =
  | "memory"
  | "cpu"
  | "disk"
  | "network"
  | "processes"
  | "uptime"
  | "events"
  | "health"
  | "services"
  | "boot"
  | "identity"
  | "help"
  | "unknown";

/** Words and phrases, each with its weight. A phrase is several words in a row. */
type Vocabulary = readonly (readonly [weight: number, phrases: readonly string[]])[];

/** In order of precedence: of two that score the same, the earlier is the more particular. */
const vocabularies: readonly (readonly [Exclude<Intent, "unknown">, Vocabulary])[] = [
  ["services", [
    [4, ["service", "services", "daemon", "daemons", "supervised", "supervisor"]],
    [2, ["crash loop", "backoff", "backing off"]],
    [1, ["restarts", "restarted", "restarting", "failed", "running", "stopped", "down"]],
  ]],
  ["memory", [
    [4, ["memory", "ram", "mem", "rss", "swap", "swapping", "oom", "out of memory"]],
    [3, ["memory hog", "memory leak", "leaking"]],
    [1, ["mb", "megabytes", "gb", "gigabytes", "bytes", "free", "available", "hog", "leak"]],
  ]],
  ["disk", [
    [4, ["disk", "disks", "storage", "filesystem", "filesystems", "file system", "inodes"]],
    [4, ["inode", "df", "disk space", "free space", "space left", "out of space", "ssd", "drive"]],
    [3, ["space", "partition", "partitions", "mount", "mounts", "mounted"]],
    [1, ["mb", "gb", "free", "full", "left"]],
  ]],
  ["network", [
    [4, ["network", "networking", "internet", "ip", "ips", "dns", "dhcp", "gateway", "lease"]],
    [4, ["ethernet", "nic", "nics", "interface", "interfaces", "bandwidth", "connectivity"]],
    [4, ["online", "offline", "leases", "ip address", "mac address", "default route"]],
    [3, ["address", "addresses", "route", "routes", "router", "connected", "connection", "net"]],
    [3, ["traffic", "link", "links", "reachable", "nameserver", "resolver", "lan", "wifi"]],
    [3, ["carrier", "cable", "hostname", "host name", "eth0"]],
    [1, ["packets", "received", "sent"]],
  ]],
  ["boot", [
    [4, ["reboot", "rebooted", "reboots", "boot", "booted", "booting", "last stop", "bootup"]],
    [4, ["shut down", "shutdown", "powered off", "power off", "start up", "startup", "panicked"]],
    [4, ["last crash", "panic", "you crash", "you restart", "last restart", "it restart"]],
    [4, ["machine restart", "system restart", "machine restarted", "system restarted"]],
    [1, ["crash", "crashed", "attempt", "restart", "restarted", "rescue", "start", "started"]],
  ]],
  ["uptime", [
    [5, ["uptime", "been up", "been running", "been on", "been alive", "up for", "how old"]],
    [5, ["running for", "up since", "running since", "on since", "turned on"]],
    [3, ["how long", "since when"]],
  ]],
  ["cpu", [
    [4, ["cpu", "cpus", "processor", "processors", "core", "cores", "load", "loadavg"]],
    [4, ["load average", "iowait", "io wait"]],
    [3, ["slow", "sluggish", "laggy", "lagging", "overloaded", "unresponsive"]],
    [2, ["busy", "idle", "busiest", "spinning", "performance"]],
  ]],
  ["events", [
    [4, ["happened", "happen", "happening", "event", "events", "history", "log", "logs"]],
    [4, ["going on", "went on", "recently", "occurred", "incident", "incidents", "what changed"]],
    [3, ["recent", "latest", "lately", "news", "changed", "changes", "just now", "last thing"]],
    [3, ["is new", "crash", "crashed", "failed", "fail"]],
    [1, ["last", "new"]],
  ]],
  ["processes", [
    [4, ["process", "processes", "pid", "pids", "ps", "tasks", "task", "zombie", "zombies"]],
    [4, ["threads", "programs", "program"]],
    [2, ["running", "runs", "apps", "applications", "executing"]],
    [1, ["top", "biggest", "heaviest", "hungriest"]],
  ]],
  ["health", [
    [4, ["healthy", "health", "ok", "okay", "fine", "alright", "all right", "status", "broken"]],
    [4, ["wrong", "problem", "problems", "issue", "issues", "trouble", "sick", "degraded"]],
    [4, ["how are you", "how is it going", "how are things", "errors", "warning", "error"]],
    [4, ["all good", "all well", "are you well", "are you good", "everything good", "warnings"]],
    [3, ["stable", "alive", "condition", "diagnose", "overview"]],
    [3, ["report", "summary", "summarize", "summarise", "check"]],
    [2, ["doing"]],
  ]],
  ["identity", [
    [4, ["who are you", "what are you", "your name", "which model", "llm", "are you an ai"]],
    [4, ["version", "kernel", "architecture", "which system", "what system", "are you human"]],
    [3, ["language model", "survival mode", "who is this"]],
    [2, ["model", "survival"]],
  ]],
  ["help", [
    [5, ["help", "what can you do", "what can i ask", "what do you know"]],
    [3, ["hello", "hi", "hey", "good morning", "good evening", "usage", "manual", "examples"]],
  ]],
];

const phrases: ReadonlySet<string> = new Set(
  vocabularies.flatMap(([, vocabulary]) => vocabulary.flatMap(([, words]) => words)),
);

/** Whether a word says by itself what a sentence is about: as a name it says less. */
export function isOrdinary(word: string): boolean {
  return phrases.has(word);
}

/** What naming a service says about a sentence. */
function nameScore(name: string): number {
  return isOrdinary(name) ? 3 : 5;
}

/** Below this a sentence has only words that many questions share. */
const threshold = 2;
/** A question is a sentence or two; what comes after is not read. */
const maxWords = 200;

/** Lower-case words, apostrophes closed up (`what's` → `what s` reads as `what is`). */
export function wordsOf(message: string): string[] {
  return message.toLowerCase().slice(0, 4000).normalize("NFKC")
    .replace(/['’]s\b/g, " is").replace(/['’]re\b/g, " are").replace(/['’]/g, "")
    .split(/[^\p{L}\p{N}_.:/-]+/u)
    .map((word) => word.replace(/^[.:/-]+|[.:/-]+$/g, ""))
    .filter((word) => word !== "")
    .slice(0, maxWords);
}

/**
 * The question a sentence asks.
 *
 * @param names of declared services: naming one asks about it
 */
export function intentOf(message: string, names: readonly string[] = []): Intent {
  const text = ` ${wordsOf(message).join(" ")} `;
  let best: Intent = "unknown";
  let bestScore = threshold - 1;
  for (const [intent, vocabulary] of vocabularies) {
    let score = 0;
    for (const [weight, words] of vocabulary) {
      for (const phrase of words) if (text.includes(` ${phrase} `)) score += weight;
    }
    if (intent === "services") {
      const named = names.filter((name) => text.includes(` ${name} `));
      score += Math.max(0, ...named.map(nameScore));
    }
    if (score > bestScore) {
      best = intent;
      bestScore = score;
    }
  }
  return best;
}
