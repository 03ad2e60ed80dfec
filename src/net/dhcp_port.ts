/**
 * The DHCP client's UDP port on one link: a kernel socket in the reactor.
 *
 * Owns the socket and its place in the reactor; it must never read a packet.
 */
import type { Reactor } from "../kernel/reactor.ts";
import { type UdpLibc, UdpSocket } from "../kernel/udp.ts";
import type { OpenPort } from "./network.ts";

// RFC 2131 §4.1
const serverPort = 67;
const clientPort = 68;

/**
 * Opens port 68 on one link (its name, such as `"eth0"`).
 *
 * @throws SysError naming the step: EADDRINUSE, ENODEV, EPERM, …
 */
export function openDhcpPort(libc: UdpLibc, reactor: Pick<Reactor, "add">, link: string): OpenPort {
  const socket = new UdpSocket(libc, { port: clientPort, device: link });
  let receive: ((packet: Uint8Array) => void) | null = null;
  let registration: { remove(): void };
  const drain = () => socket.drain((datagram) => receive?.(datagram));
  try {
    registration = reactor.add(socket.fd, ["read"], drain, `dhcp ${link}`);
  } catch (error) {
    socket.close();
    throw error;
  }
  return {
    send: (packet, to) => socket.send(packet, to, serverPort),
    onPacket: (callback) => receive = callback,
    drain: () => void drain(),
    close: () => {
      registration.remove();
      socket.close();
    },
  };
}
