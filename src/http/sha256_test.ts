import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { sha256Hex } from "./sha256.ts";

Deno.test("sha256Hex() answers the FIPS 180-4 examples", () => {
  assert.equal(
    sha256Hex("abc"),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
  assert.equal(
    sha256Hex(""),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  );
});

Deno.test("sha256Hex() equals the runtime's digest for every length and text", () => {
  const reference = (text: string) => createHash("sha256").update(text).digest("hex");
  for (let length = 0; length < 200; length++) {
    assert.equal(sha256Hex("x".repeat(length)), reference("x".repeat(length)));
  }
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      assert.equal(sha256Hex(text), reference(text));
    }),
  );
});
