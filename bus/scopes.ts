/**
 * Scopes: `<subsystem>:<resource>:<verb>[@selector]`, the one vocabulary of
 * permission.
 *
 * Owns parsing and matching as pure code. A wildcard must never cover the
 * verbs `approve`, `grant` and `exec`: those are always written out.
 */
export interface Scope {
  readonly subsystem: string;
  readonly resource: string;
  readonly verb: string;
  readonly selector?: string;
}

const written = new Set(["approve", "grant", "exec"]);
const token = /^(?:\*|[a-z][a-z0-9_.-]{0,63})$/;

/** Parses a scope; answers the fault as text when it is not one. */
export function parseScope(text: string): Scope | string {
  const at = text.indexOf("@");
  const head = at < 0 ? text : text.slice(0, at);
  const parts = head.split(":");
  if (parts.length !== 3 || !parts.every((part) => token.test(part))) {
    return `scope "${text.slice(0, 128)}": expected <subsystem>:<resource>:<verb>[@selector]`;
  }
  const scope = { subsystem: parts[0]!, resource: parts[1]!, verb: parts[2]! };
  if (at < 0) return scope;
  const selector = text.slice(at + 1);
  if (selector.length === 0 || selector.length > 512) {
    return `scope "${text.slice(0, 128)}": expected a selector of 1–512 characters after @`;
  }
  return { ...scope, selector };
}

/** Whether one granted scope covers a wanted one. */
export function covers(granted: Scope, wanted: Scope): boolean {
  const verb = granted.verb === wanted.verb || (granted.verb === "*" && !written.has(wanted.verb));
  return verb &&
    (granted.subsystem === "*" || granted.subsystem === wanted.subsystem) &&
    (granted.resource === "*" || granted.resource === wanted.resource) &&
    (granted.selector === undefined || granted.selector === wanted.selector);
}

/** Whether any of the granted scopes covers `wanted`; what is not listed is denied. */
export function allows(granted: readonly Scope[], wanted: Scope | string): boolean {
  const want = typeof wanted === "string" ? parseScope(wanted) : wanted;
  if (typeof want === "string") throw new Error(want);
  return granted.some((scope) => covers(scope, want));
}

/** Roles are named bundles of scopes. */
export const roles = {
  viewer: ["*:*:read"],
  operator: ["*:*:read", "immune:service:*", "cortex:chat:ask", "shell:network:renew"],
  admin: [
    "*:*:*",
    "shell:exec:exec",
    "cortex:action:approve",
    "core:token:grant",
  ],
} as const;
export type Role = keyof typeof roles;

/** A role's scopes, parsed. */
export function roleScopes(role: Role): Scope[] {
  return roles[role].map((text) => {
    const scope = parseScope(text);
    if (typeof scope === "string") throw new Error(scope);
    return scope;
  });
}
