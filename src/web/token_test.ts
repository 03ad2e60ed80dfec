/** Tests of token.ts. */
import assert from "node:assert/strict";
import { forgetToken, keepToken, parseToken, takeToken } from "./token.ts";
import type { TokenHome } from "./token.ts";

const token = "Zm9vYmFyYmF6cXV1eA";

function home(hash: string): TokenHome & { urls: string[] } {
  const kept = new Map<string, string>();
  const urls: string[] = [];
  return {
    urls,
    location: { hash, pathname: "/", search: "?x=1" },
    history: { replaceState: (_data, _unused, url) => void urls.push(url) },
    storage: {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => void kept.set(key, value),
      removeItem: (key) => void kept.delete(key),
    },
  };
}

Deno.test("takeToken() takes the token out of the address bar and keeps it for the tab", () => {
  const tab = home(`#token=${token}`);
  assert.equal(takeToken(tab), token);
  assert.deepEqual(tab.urls, ["/?x=1"]);
  assert.equal(takeToken({ ...tab, location: { hash: "", pathname: "/", search: "" } }), token);
  forgetToken(tab);
  assert.equal(takeToken({ ...tab, location: { hash: "", pathname: "/", search: "" } }), null);
});

Deno.test("takeToken() drops a broken fragment and falls back to the kept token", () => {
  const tab = home("#token=two%20words%20here");
  keepToken(tab, token);
  assert.equal(takeToken(tab), token);
  assert.deepEqual(tab.urls, ["/?x=1"]);
  assert.equal(takeToken({ ...home(""), storage: null }), null);
});

Deno.test("parseToken() reads a token or a URL and refuses anything a header could not carry", () => {
  assert.equal(parseToken(` ${token}\n`), token);
  assert.equal(parseToken(`http://localhost:8422/#token=${token}`), token);
  for (const text of ["", "short", "has blank in it", "a,b;c=d,e", "x".repeat(600)]) {
    assert.equal(parseToken(text), null, text);
  }
});
