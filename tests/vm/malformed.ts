/**
 * Requests and WebSocket frames that no honest client sends, by name.
 *
 * Data, and the one loop that sends it. What the answer should be is the test's business.
 */

/** One thing to send. */
export interface Malformed {
  name: string;
  bytes: Uint8Array | string;
}

/** A frame to send after a good handshake. */
export interface MalformedFrame {
  name: string;
  bytes: Uint8Array;
  /** A server must end the connection for it (RFC 6455 §5, §7.1.7). */
  ends: boolean;
}

/** Sends them, some at a time. */
export async function hostile<T>(
  items: readonly T[],
  send: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await send(item);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

/** Requests to refuse, for a server behind `localhost:port` that knows `token`. */
export function malformedRequests(port: number, token: string): Malformed[] {
  const host = `Host: localhost:${port}`;
  const auth = `Authorization: Bearer ${token}`;
  const post = `POST /api/v1/exec HTTP/1.1\r\n${host}\r\n${auth}\r\nConnection: close\r\n`;
  const json = `${post}Content-Type: application/json\r\n`;
  const body = (text: string) => `${json}Content-Length: ${text.length}\r\n\r\n${text}`;
  const get = (path: string) =>
    `GET ${path} HTTP/1.1\r\n${host}\r\n${auth}\r\nConnection: close\r\n\r\n`;
  const upgrade = (...lines: string[]) =>
    [`GET /api/v1/stream HTTP/1.1`, host, auth, ...lines, "", ""].join("\r\n");
  const all: Record<string, Uint8Array | string> = {
    "nothing but line ends": "\r\n\r\n\r\n",
    "zeros": new Uint8Array(4096),
    "a TLS hello": new Uint8Array([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
    "the preface of HTTP/2 with rubbish": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish rubbish rubbish",
    "no version": `GET /healthz\r\n${host}\r\n\r\n`,
    "an unknown version": `GET /healthz HTTP/9.9\r\n${host}\r\n\r\n`,
    "no path": `GET  HTTP/1.1\r\n${host}\r\n\r\n`,
    "a method with a space": `G ET /healthz HTTP/1.1\r\n${host}\r\n\r\n`,
    "a lower-case method": `get /healthz HTTP/1.1\r\n${host}\r\nConnection: close\r\n\r\n`,
    "an unknown method": `BREW /healthz HTTP/1.1\r\n${host}\r\nConnection: close\r\n\r\n`,
    "CONNECT": `CONNECT example.org:443 HTTP/1.1\r\n${host}\r\nConnection: close\r\n\r\n`,
    "TRACE": `TRACE /healthz HTTP/1.1\r\n${host}\r\nConnection: close\r\n\r\n`,
    "no Host": "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two Hosts": `GET /healthz HTTP/1.1\r\n${host}\r\nHost: evil\r\nConnection: close\r\n\r\n`,
    "a Host that is none": "GET /healthz HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
    "a target of another host":
      `GET http://evil.example/healthz HTTP/1.1\r\n${host}\r\nConnection: close\r\n\r\n`,
    "a header without a colon": `GET /healthz HTTP/1.1\r\n${host}\r\nrubbish\r\n\r\n`,
    "a header with a space in its name": `GET /healthz HTTP/1.1\r\n${host}\r\nX Y: 1\r\n\r\n`,
    "a header with a NUL": `GET /healthz HTTP/1.1\r\n${host}\r\nX: a\0b\r\n\r\n`,
    "a header folded over lines": `GET /healthz HTTP/1.1\r\n${host}\r\n X: a\r\n\r\n`,
    "a length below zero": `${json}Content-Length: -1\r\n\r\n`,
    "a length that is no number": `${json}Content-Length: ten\r\n\r\n`,
    "a length beyond 64 bits": `${json}Content-Length: 99999999999999999999\r\n\r\n`,
    "two lengths": `${json}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x`,
    "a length and chunks":
      `${json}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    "a chunk size that is none": `${json}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n`,
    "a chunk of 2^64": `${json}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n`,
    "an unknown transfer coding": `${json}Transfer-Encoding: magic\r\n\r\n{}`,
    "a body over a megabyte": body(
      JSON.stringify({ argv: ["/bin/true"], stdin: "x".repeat(1 << 20) }),
    ),
    "a body shorter than it says": `${json}Content-Length: 400\r\n\r\n{"argv"`,
    "a body that is no JSON": body("{argv"),
    "a body of deep brackets": body("[".repeat(200_000)),
    "a body that is a list": body("[]"),
    "a body that is null": body("null"),
    "a body of bad UTF-8": `${json}Content-Length: 4\r\n\r\n"\xff\xfe"`,
    "a body that is form data":
      `${post}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b`,
    "no argv": body("{}"),
    "an empty argv": body('{"argv":[]}'),
    "an argv of numbers": body('{"argv":[1]}'),
    "an argv with a NUL": body('{"argv":["/bin/echo","a\\u0000b"]}'),
    "an unknown field": body('{"argv":["/bin/true"],"shell":true}'),
    "__proto__ as a field": body('{"__proto__":{"argv":["/bin/true"]}}'),
    "an endless timeout": body('{"argv":["/bin/true"],"timeout_ms":1e99}'),
    "an environment name with =": body('{"argv":["/bin/true"],"env":{"A=B":"c"}}'),
    "a position that is none": get("/api/v1/events?after=rubbish"),
    "a limit below one": get("/api/v1/events?limit=0"),
    "a limit that is no number": get("/api/v1/events?limit=1e3"),
    "a pattern that is none": get("/api/v1/events?type=..."),
    "a parameter twice": get("/api/v1/events?limit=1&limit=2"),
    "an unknown parameter": get("/api/v1/events?limt=1"),
    "bad percent signs": get("/api/v1/services/%zz%"),
    "a path out of the page": get("/../../../etc/passwd"),
    "an encoded path out of the page": get("/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    "a path of 100 kB": get(`/${"a".repeat(100_000)}`),
    "an upgrade without a key": upgrade(
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
    ),
    "an upgrade of an old version": upgrade(
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 8",
      `Sec-WebSocket-Key: ${btoa("0123456789abcdef")}`,
    ),
    "an upgrade to something else": upgrade("Connection: Upgrade, close", "Upgrade: h2c"),
  };
  return Object.entries(all).map(([name, bytes]) => ({ name, bytes }));
}

/** Frames a server must end the connection for, and some it may ignore. */
export function malformedFrames(): MalformedFrame[] {
  const mask = [1, 2, 3, 4];
  /** A masked frame: first byte, payload; `length` as claimed when it is not the payload's. */
  const frame = (first: number, payload: number[] = [], length = payload.length): number[] => {
    const head = length < 126
      ? [first, 0x80 | length]
      : [first, 0x80 | 126, length >> 8, length & 0xff];
    return [...head, ...mask, ...payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))];
  };
  const text = [...new TextEncoder().encode("hello")];
  const all: [name: string, ends: boolean, bytes: number[]][] = [
    // The runtime takes it, against RFC 6455 §5.1, which protects proxies and not servers.
    ["an unmasked frame", false, [0x81, 5, ...text]],
    ["a reserved opcode", true, frame(0x83, text)],
    ["a reserved control opcode", true, frame(0x8b, text)],
    ["a reserved bit", true, frame(0xc1, text)],
    ["all reserved bits", true, frame(0xf1, text)],
    ["a ping in parts", true, frame(0x09, text)],
    ["a ping of 200 bytes", true, frame(0x89, new Array(200).fill(1))],
    ["a length of 2^63", true, [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, ...mask]],
    ["a length of 2^62", true, [0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, ...mask]],
    ["a continuation of nothing", true, frame(0x80, text)],
    ["text that is not UTF-8", true, frame(0x81, [0xff, 0xfe, 0xfd])],
    ["a message of 5,000 bytes", true, frame(0x81, new Array(5000).fill(120))],
    ["bytes instead of text", true, frame(0x82, text)],
    ["a close of one byte", true, frame(0x88, [3])],
    ["a close with an impossible code", true, frame(0x88, [3, 237])],
    ["a close and more after it", true, [...frame(0x88, [3, 232]), ...frame(0x81, text)]],
    ["a request in the stream", true, [...new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")]],
    ["a text message", false, frame(0x81, text)],
    ["a pong nobody asked for", false, frame(0x8a, text)],
    ["half a frame", false, [0x81]],
  ];
  return all.map(([name, ends, bytes]) => ({ name, ends, bytes: new Uint8Array(bytes) }));
}
