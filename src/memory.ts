/**
 * Memory: how much of the machine belongs to whom, as arithmetic.
 *
 * Owns the shares; it must never read or set anything. All sizes in bytes.
 */

/** Bounds for the control groups, from the machine's whole memory. */
export interface MemoryBounds {
  /** memory.min of /core: what reclaim leaves the agent, whatever the tasks do. */
  readonly core: number;
  /** memory.max of /tasks. */
  readonly tasks: number;
  /** memory.max of one act's or service's group: it meets its own bound before all tasks' one. */
  readonly task: number;
}

const MiB = 1 << 20;
/** The agent's working set: below this left for it and the kernel, everything crawls. */
const agentBytes = 48 * MiB;

/** The bounds of a machine with `total` bytes; a small one gives its tasks at least half. */
export function memoryBounds(total: number): MemoryBounds {
  const tasks = Math.floor(Math.max(total / 2, Math.min(total * 0.85, total - agentBytes)));
  return {
    core: Math.min(64 * MiB, Math.floor(total / 4)),
    tasks,
    task: Math.floor(tasks * 0.9),
  };
}
