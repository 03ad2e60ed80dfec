/**
 * Problem: every refusal this server sends, as RFC 9457 problem details.
 *
 * Owns the shape of an error. It must never carry a stack, a path of the
 * machine or a credential: callers pass text meant for the other side.
 */

/** One field of a request and what was expected of it. */
export interface Fault {
  readonly field: string;
  readonly expected: string;
}

export interface ProblemOptions {
  /** What is wrong, field by field. */
  errors?: readonly Fault[] | undefined;
  headers?: Readonly<Record<string, string>> | undefined;
  /** Extension members (RFC 9457 §3.2), such as the scope that was wanted. */
  more?: Readonly<Record<string, unknown>> | undefined;
}

/** The statuses this server answers errors with; RFC 9110 §15 phrases. */
export const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  426: "Upgrade Required",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
};

/** An error answer: `application/problem+json` with status, title and `detail`. */
export function problem(status: number, detail: string, options: ProblemOptions = {}): Response {
  const body = {
    type: "about:blank",
    title: titles[status] ?? "Error",
    status,
    detail,
    ...(options.errors === undefined ? {} : { errors: options.errors }),
    ...options.more,
  };
  return new Response(JSON.stringify(body), {
    status,
    headers: { ...options.headers, "content-type": "application/problem+json" },
  });
}

/** A JSON answer. */
export function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "content-type": "application/json" },
  });
}

/** Splits `"field: expected"`, the form faults have inside the core. */
export function readFault(text: string): Fault {
  const at = text.indexOf(": ");
  return at < 0
    ? { field: "(body)", expected: text }
    : { field: text.slice(0, at), expected: text.slice(at + 2) };
}
