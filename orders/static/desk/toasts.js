// What has just happened, shown on top of the page for a while; its place is a polite live region, so it is also spoken.

import { byId, make } from "./dom.js";

const FOR_MS = 10_000;
const MOST = 4;

export function toast(text, tone = "") {
  const place = byId("live");
  const close = make("button", { type: "button", class: "quiet", "aria-label": "Dismiss" }, "×");
  const element = make("p", { class: "toast", "data-tone": tone }, make("span", {}, text), close);
  close.addEventListener("click", () => element.remove());
  place.append(element);
  while (place.children.length > MOST) place.firstElementChild.remove();
  fade(element);
}

// One that is being read stays.
function fade(element) {
  setTimeout(() => (element.matches(":hover, :focus-within") ? fade(element) : element.remove()), FOR_MS);
}
