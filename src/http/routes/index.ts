/** The table of every route there is; what is not here and no file of the page is a 404. */
import { legacy } from "../legacy.ts";
import type { AnyRoute } from "../route.ts";
import { chat } from "./chat.ts";
import { disk } from "./disk.ts";
import { events, eventSource, stream, ticket } from "./events.ts";
import { exec } from "./exec.ts";
import { hardware } from "./hardware.ts";
import { meminfo } from "./meminfo.ts";
import { network, renew } from "./network.ts";
import { openapi } from "./openapi.ts";
import { poweroff, reboot } from "./power.ts";
import { processes } from "./processes.ts";
import { sensors } from "./sensors.ts";
import {
  declareService,
  removeService,
  restartService,
  service,
  services,
  startService,
  stopService,
} from "./services.ts";
import { healthz, readyz, status } from "./status.ts";

export const routes: readonly AnyRoute[] = [
  healthz,
  readyz,
  status,
  processes,
  network,
  renew,
  meminfo,
  disk,
  hardware,
  sensors,
  events,
  eventSource,
  stream,
  ticket,
  services,
  service,
  declareService,
  removeService,
  startService,
  stopService,
  restartService,
  exec,
  chat,
  poweroff,
  reboot,
  openapi,
  legacy,
];
