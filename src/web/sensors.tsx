/**
 * Sensors: what the machine can feel, how much it felt, and what it missed.
 */
import { formatCount, formatShort, visible } from "./format.ts";
import { Panel } from "./panel.tsx";
import { useSession } from "./session.ts";

export function Sensors() {
  const { store } = useSession();
  const status = store.status.value;
  const streams = status?.clients.streams;
  return (
    <Panel
      id="sensors"
      title="Sensors"
      aside={streams !== undefined && (
        <span>{streams} {streams === 1 ? "stream" : "streams"} open</span>
      )}
    >
      {status === null
        ? <p class="note">Not heard yet.</p>
        : status.sensors.length === 0
        ? <p class="note">No sensor runs: the machine is blind.</p>
        : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th scope="col">sensor</th>
                  <th scope="col">state</th>
                  <th scope="col" class="num">events</th>
                  <th scope="col" class="num">gaps</th>
                </tr>
              </thead>
              <tbody>
                {status.sensors.map((sensor) => (
                  <tr key={sensor.name}>
                    <th scope="row" class="mono">{visible(sensor.name)}</th>
                    <td>
                      <span class={`state ${sensor.state}`}>{sensor.state}</span>
                      {sensor.error !== undefined && (
                        <span class="note">{visible(sensor.error)}</span>
                      )}
                    </td>
                    <td class="num" title={formatCount(sensor.events)}>
                      {formatShort(sensor.events)}
                    </td>
                    <td class={sensor.gaps > 0 ? "num bad" : "num"}>{formatCount(sensor.gaps)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
    </Panel>
  );
}
