// The desk: one pair, one ticket, all orders.

import * as api from "./api.js";
import { cancelAll } from "./cancelling.js";
import { Chart } from "./chart.js";
import { byId, make, say } from "./dom.js";
import { Market } from "./market.js";
import { Orders } from "./orders.js";
import { Status } from "./status.js";
import { Ticket } from "./ticket.js";

const PAIRS_AGAIN_MS = 20_000;

const known = new Map();
const market = new Market(new Chart(byId("chart")), { changed: (state) => status.connection("market", state) });
const status = new Status(market);
const orders = new Orders({ changed: (state) => status.connection("orders", state) });
const ticket = new Ticket({ placed: (id) => orders.placed(id) });

// The pair is in the address: a reload, a bookmark and a second window show the same.
const asked = () => decodeURIComponent(location.hash.slice(1));

function choose(name) {
  const pair = known.get(name);
  if (!pair) return;
  byId("pair").value = name;
  if (asked() !== name) history.replaceState(null, "", `#${name}`);
  byId("flip").disabled = !known.has(reverse(pair));
  document.title = `${name} · Trading desk`;
  say(byId("cancel-all"), `Cancel all of ${name}`);
  market.show(name);
  ticket.trade(pair);
}

const reverse = ({ tokenIn, tokenOut }) => `${tokenOut.symbol}-${tokenIn.symbol}`;

async function readPairs() {
  let wait = PAIRS_AGAIN_MS;
  try {
    const found = await api.pairs();
    const first = known.size === 0;
    if (found.map((one) => one.pair).join() !== [...known.keys()].join()) offer(found);
    if (first) choose(known.has(asked()) ? asked() : known.has("SOL-USDC") ? "SOL-USDC" : found[0]?.pair);
  } catch {
    wait = 2_000;
  }
  setTimeout(readPairs, wait);
}

function offer(found) {
  known.clear();
  for (const one of found) known.set(one.pair, one);
  const chosen = byId("pair").value;
  byId("pair").replaceChildren(...found.map((one) => make("option", { value: one.pair }, one.pair)));
  if (known.has(chosen)) byId("pair").value = chosen;
  orders.offerPairs(known.keys());
  ticket.offerTokens([...new Set(found.map((one) => one.tokenOut.symbol))]);
}

byId("pair").addEventListener("change", (event) => choose(event.target.value));
byId("flip").addEventListener("click", () => {
  const pair = known.get(byId("pair").value);
  if (pair) choose(reverse(pair));
});
byId("cancel-all").addEventListener("click", () => {
  const pair = known.get(byId("pair").value);
  if (pair) cancelAll(pair.pair, [pair.pair, reverse(pair)].filter((name) => known.has(name)));
});
window.addEventListener("hashchange", () => choose(asked()));
readPairs();
