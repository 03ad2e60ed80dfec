/**
 * Processes: the table of what runs, sortable, kernel threads set apart.
 */
import { useSignal } from "@preact/signals";
import type { ProcessInfo } from "../../bus/shapes.ts";
import { formatBytes, formatCount, formatShare, visible } from "./format.ts";
import { Panel, Refusal, useOnScreen } from "./panel.tsx";
import { useSession } from "./session.ts";

/** More rows than this are counted, not drawn. */
const rowsMax = 200;

type Column = "pid" | "ppid" | "comm" | "state" | "uid" | "threads" | "rss" | "cpu";

interface ColumnSpec {
  readonly label: string;
  readonly about: string;
  readonly numeric: boolean;
  /** Hidden where there is little room. */
  readonly minor: boolean;
}

const columns: Readonly<Record<Column, ColumnSpec>> = {
  pid: { label: "pid", about: "process id", numeric: true, minor: false },
  comm: { label: "name", about: "command name", numeric: false, minor: false },
  state: { label: "state", about: "state as in /proc/pid/stat", numeric: false, minor: true },
  ppid: { label: "parent", about: "parent's process id", numeric: true, minor: true },
  uid: { label: "uid", about: "user id", numeric: true, minor: true },
  threads: { label: "threads", about: "threads", numeric: true, minor: true },
  rss: { label: "memory", about: "resident memory", numeric: true, minor: false },
  cpu: { label: "cpu", about: "share of one CPU", numeric: true, minor: false },
};
const columnNames = Object.keys(columns) as Column[];

export interface Order {
  readonly column: Column;
  readonly descending: boolean;
}

/** Sorts a copy; equal rows keep the order of their pid, so that the table stays still. */
export function sortProcesses(items: readonly ProcessInfo[], order: Order): ProcessInfo[] {
  const sign = order.descending ? -1 : 1;
  return items.toSorted((a, b) => {
    const x = a[order.column];
    const y = b[order.column];
    return (x < y ? -sign : x > y ? sign : 0) || a.pid - b.pid;
  });
}

export function Processes() {
  const session = useSession();
  const { store } = session;
  const order = useSignal<Order>({ column: "rss", descending: true });
  const withKernel = useSignal(false);
  const box = useOnScreen((onScreen) => session.watch("processes", onScreen));
  const all = store.processes.value;
  const userland = all?.filter(({ kernel }) => !kernel).length ?? store.status.value?.userland;
  const kernel = all === null ? 0 : all.length - (userland ?? 0);
  return (
    <Panel
      id="processes"
      title="Processes"
      aside={
        <>
          <span id="userland">
            <b class="mono">{userland === undefined ? "–" : formatCount(userland)}</b> in userland
          </span>
          <label class="check">
            <input
              type="checkbox"
              checked={withKernel.value}
              onChange={(event) => withKernel.value = event.currentTarget.checked}
            />
            {formatCount(kernel)} kernel threads
          </label>
        </>
      }
    >
      <div ref={box}>
        <Refusal problem={store.problems.value.processes} />
        {all === null
          ? <p class="note">Not heard yet.</p>
          : <Table items={withKernel.value ? all : all.filter((p) => !p.kernel)} order={order} />}
      </div>
    </Panel>
  );
}

interface TableProps {
  readonly items: readonly ProcessInfo[];
  readonly order: { value: Order };
}

function Table({ items, order }: TableProps) {
  const { column, descending } = order.value;
  const sort = (next: Column) => {
    order.value = {
      column: next,
      // Numbers are asked for largest first, words and ids from the beginning.
      descending: next === column ? !descending : next === "rss" || next === "cpu",
    };
  };
  const sorted = sortProcesses(items, order.value);
  return (
    <div class="scroll tall" tabIndex={0} role="group" aria-label="Process table">
      <table class="processes">
        <thead>
          <tr>
            {columnNames.map((name) => {
              const { label, about, numeric, minor } = columns[name];
              const sortedBy = name === column;
              return (
                <th
                  key={name}
                  scope="col"
                  class={`${numeric ? "num" : ""} ${minor ? "minor" : ""}`}
                  aria-sort={sortedBy ? descending ? "descending" : "ascending" : "none"}
                >
                  <button type="button" title={`Sort by ${about}`} onClick={() => sort(name)}>
                    {label}
                    <i aria-hidden="true">{sortedBy ? descending ? "↓" : "↑" : ""}</i>
                  </button>
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, rowsMax).map((process) => <Row key={process.pid} process={process} />)}
        </tbody>
      </table>
      {sorted.length > rowsMax && (
        <p class="note">and {formatCount(sorted.length - rowsMax)} more</p>
      )}
    </div>
  );
}

function Row({ process }: { readonly process: ProcessInfo }) {
  return (
    <tr class={process.kernel ? "kernel" : ""}>
      <td class="num">{process.pid}</td>
      <td class="name">
        {process.kernel ? `[${visible(process.comm)}]` : visible(process.comm)}
      </td>
      <td class="minor">{visible(process.state)}</td>
      <td class="num minor">{process.ppid}</td>
      <td class="num minor">{process.uid}</td>
      <td class="num minor">{process.threads}</td>
      <td class="num">{process.kernel ? "" : formatBytes(process.rss)}</td>
      <td class="num">{formatShare(process.cpu)}</td>
    </tr>
  );
}
