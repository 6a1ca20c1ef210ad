// Keyboard shortcuts.  None acts while something is typed, or with a modifier: those are the browser's.

import { byId } from "./dom.js";

export function listen({ side, search }) {
  const acts = { b: () => side("buy"), s: () => side("sell"), "/": search, "?": () => byId("shortcuts").showModal() };
  byId("keys").addEventListener("click", acts["?"]);
  byId("shortcuts").querySelector("button").addEventListener("click", () => byId("shortcuts").close());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (event.key === "Escape") target.blur();
    if (target.matches("input:not([type=radio], [type=checkbox]), select") || !acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  });
}
