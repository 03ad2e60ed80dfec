import assert from "node:assert/strict";
import {
  defaultOptions,
  machineFor,
  OptionError,
  optionHelp,
  parseBootOptions,
} from "./options.ts";

Deno.test("parseBootOptions() has a default for everything", () => {
  assert.deepEqual(parseBootOptions([]), defaultOptions());
});

Deno.test("parseBootOptions() reads values after a space or an equals sign", () => {
  const options = parseBootOptions([
    ...["--kernel", "generic", "--machine=microvm", "--memory", "96", "--cpus=1"],
    ...["--data", "none", "--http-port", "0", "--listen", "0.0.0.0", "--nic", "both"],
    ...["--accel", "tcg", "--net", "none", "--append", "osym.ip=10.0.2.15/24", "--append=quiet"],
    ...["--headless", "--json"],
  ]);
  assert.deepEqual(options, {
    ...defaultOptions(),
    ...{ kernel: "generic", machine: "microvm", memoryMb: 96, cpus: 1, data: "none", httpPort: 0 },
    ...{ listen: "0.0.0.0", nic: "both", accel: "tcg", net: "none", headless: true, json: true },
    append: ["osym.ip=10.0.2.15/24", "quiet"],
  });
  assert.deepEqual(parseBootOptions(["--kernel", "./bzImage"]).kernel, { path: "./bzImage" });
});

const MISTAKES: [string[], RegExp][] = [
  [["--kernel", "fast"], /^--kernel fast: expected stripped, generic, or a path/],
  [["--machine", "virtualbox"], /^--machine virtualbox: expected one of q35, pc, microvm, virt$/],
  [["--memory", "lots"], /^--memory lots: expected a whole number from 64 to/],
  [["--memory", "63"], /^--memory 63: expected/],
  [["--cpus"], /^--cpus: expected N$/],
  [["--http-port", "65536"], /^--http-port 65536: expected a whole number from 0 to 65535$/],
  [["--listen", "localhost"], /^--listen localhost: expected an IPv4 address/],
  [["--listen", "1.2.3.256"], /^--listen 1\.2\.3\.256: expected/],
  [["--append", 'a="b"'], /^--append a="b": expected one kernel parameter/],
  [["--append", "a b"], /^--append a b: expected one kernel parameter/],
  [["--headless=yes"], /^--headless: takes no value$/],
  [["--json"], /^--json: needs --headless$/],
  [["--speed"], /^--speed: unknown option; see/],
  [["q35"], /^q35: unknown option/],
];

for (const [argv, message] of MISTAKES) {
  Deno.test(`parseBootOptions() refuses ${argv.join(" ")} with a reason`, () => {
    assert.throws(() => parseBootOptions(argv), (error) => {
      assert.ok(error instanceof OptionError);
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("optionHelp() lists every option once", () => {
  const names = optionHelp().split("\n").map((line) => line.trim().split(" ")[0]);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.includes("--http-port"));
});

Deno.test("machineFor() knows which machine types an architecture has", () => {
  assert.equal(machineFor("x86_64", null), "q35");
  assert.equal(machineFor("aarch64", null), "virt");
  assert.equal(machineFor("x86_64", "microvm"), "microvm");
  assert.throws(() => machineFor("aarch64", "q35"), /--machine q35: expected one of virt/);
});
