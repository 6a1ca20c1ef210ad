// Positions and results, market by market, in a dialog that is read again while it is open.

import * as api from "./api.js";
import { byId, make, say } from "./dom.js";
import { bps, figure } from "./format.js";

const AGAIN_MS = 3_000;
const DIGITS = 9;

export function results() {
  const dialog = byId("results");
  byId("show-results").addEventListener("click", () => {
    dialog.showModal();
    read();
  });
  dialog.querySelector(".buttons button").addEventListener("click", () => dialog.close());
  setInterval(() => dialog.open && !document.hidden && read(), AGAIN_MS);
}

async function read() {
  try {
    const found = await api.positions();
    byId("positions").replaceChildren(...found.map(row));
    say(byId("positions-note"), found.length ? "" : "No fills yet.");
  } catch {
    // An old figure would be taken for a new one.
    byId("positions").replaceChildren();
    say(byId("positions-note"), "No answer; trying again.");
  }
}

function row(one) {
  const money = (text) => figure(text, DIGITS);
  return make("tr", {},
    make("th", { scope: "row" }, one.token, make("small", {}, `in ${one.quoteToken}`)),
    cell(money(one.amount), Number(one.uncosted) ? `${figure(one.uncosted)} sold at unknown cost` : ""),
    cell(figure(one.averageCost), `now ${one.price === null ? "no fresh price" : figure(one.price)}`),
    cell(gain(one.unrealised), "", one.unrealised),
    cell(gain(one.realised), "", one.realised),
    cell(money(one.fees)),
    cell(money(one.shortfall), bps(one.shortfallBps)));
}

const gain = (text) => (Number(text) > 0 ? `+${figure(text, DIGITS)}` : figure(text, DIGITS));

const cell = (text, small = "", tone = 0) => make("td", { "data-tone": Number(tone) > 0 ? "good" : Number(tone) < 0 ? "bad" : null }, text, make("small", {}, small));
