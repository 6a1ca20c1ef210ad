// The desk: one market, one ticket, all orders.

import * as api from "./api.js";
import { Balances } from "./balances.js";
import { cancelAll } from "./cancelling.js";
import { Chart } from "./chart.js";
import { byId, make, say } from "./dom.js";
import { listen } from "./keys.js";
import { Market } from "./market.js";
import { Orders } from "./orders.js";
import { Outcome } from "./outcome.js";
import { results } from "./results.js";
import { known, marketOf, markets, sideOf } from "./sides.js";
import { Status } from "./status.js";
import { Ticket } from "./ticket.js";

const PAIRS_AGAIN_MS = 20_000;

const market = new Market(new Chart(byId("chart")), { changed: (side, state) => status.connection(side, state) });
const outcome = new Outcome((id) => orders.show(id));
const status = new Status(market, { stopped: () => outcome.clear() });
const orders = new Orders({ changed: (state) => status.connection("orders", state), best: (pair) => market.best(pair), stopOf: (pair) => market.stopOf(pair), ended: (order) => outcome.ended(order) });
const balances = new Balances();
const ticket = new Ticket({ outcome, placed, sided: locate, prices: (side) => market.price(side), share: (token, percent) => balances.share(token, percent) });

// Market and side are in the address, as the pair of the API: a reload, a bookmark and a second window show the same.
const asked = () => decodeURIComponent(location.hash.slice(1));

function locate(pair) {
  market.face(sideOf(pair).side);
  if (asked() !== pair) history.replaceState(null, "", `#${pair}`);
}

function placed(id) {
  orders.placed(id);
  balances.read();
}

function choose(pair) {
  const chosen = known.has(pair) && marketOf(pair);
  if (!chosen) return;
  byId("pair").value = chosen.name;
  locate(pair);
  document.title = `${chosen.name} · Trading desk`;
  say(byId("cancel-all"), `Cancel all of ${chosen.name}`);
  say(byId("chart-title"), `${chosen.sell ? "Selling" : "Buying"} ${chosen.base.symbol}: price after fee`);
  market.show(chosen);
  balances.show([chosen.base, chosen.quote]);
  ticket.trade(chosen, sideOf(pair).side);
}

// The pair that trades a market on the side that is chosen, or on the other.
function pairOf({ sell, buy }) {
  return (ticket.side === "buy" ? buy || sell : sell || buy).pair;
}

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
  byId("pair").replaceChildren(...markets().map((name) => make("option", { value: name }, name)));
  if (marketOf(chosen)) byId("pair").value = chosen;
  orders.offerPairs(known.keys());
  if (market.name) choose(pairOf(marketOf(chosen) || marketOf(found[0].pair)));
}

byId("pair").addEventListener("change", (event) => choose(pairOf(marketOf(event.target.value))));
byId("cancel-all").addEventListener("click", () => {
  const shown = marketOf(byId("pair").value);
  if (shown) cancelAll(shown.name, [shown.sell, shown.buy].filter(Boolean).map((one) => one.pair));
});
listen({
  side(side) {
    if (ticket.type === "sniper") ticket.choose("type", "market", "amount");
    ticket.choose("side", side, "amount");
  },
  search: () => ticket.choose("type", "sniper", "tokenOut"),
});
window.addEventListener("hashchange", () => choose(asked()));
results();
readPairs();
