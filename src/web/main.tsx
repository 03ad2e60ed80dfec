/**
 * Main: mounts the page and starts its session.
 *
 * Owns the last guards: an error that nothing else caught is shown in the page
 * and ends nothing.
 */
import { render } from "preact";
import { Page } from "./page.tsx";
import { Session, SessionProvider } from "./session.ts";
import { browserHome } from "./token.ts";

const root = document.getElementById("app");
if (root === null) throw new Error("main: the document has no #app");

const session = new Session(document.baseURI, browserHome());

addEventListener("error", (event) => {
  // What fails to load (a script, an image) has no error and is not a fault of a panel.
  if (event.error !== undefined && event.error !== null) session.store.addFault(event.error);
});
addEventListener("unhandledrejection", (event) => session.store.addFault(event.reason));

root.replaceChildren();
render(
  <SessionProvider value={session}>
    <Page />
  </SessionProvider>,
  root,
);
session.begin();
