// One market: the figures above the chart, the chart, and the lists beside it.
//
// Both of its directions are followed; every price is in quote per base, what a side pays or gets after the fee.

import * as clock from "./clock.js";
import { byId, make, mark, say } from "./dom.js";
import { bps, clockTime, duration, figure, percent, price } from "./format.js";
import { quotient } from "./decimal.js";
import { History, RANGES } from "./history.js";
import { Link } from "./link.js";
import { FINE, perBase, sideOf } from "./sides.js";

const LISTED = 12;
const SIDES = ["sell", "buy"];

// What is known of one direction.
const blank = (pair) => ({ pair: pair?.pair, best: null, quotes: [], levels: [], fills: [], stops: [], names: [], heardAt: 0, begun: false });

export class Market {
  constructor(chart, { changed }) {
    Object.assign(this, { chart, changed, name: null, side: "sell", tick: "0.01", sell: blank(), buy: blank(), links: [] });
    this.history = new History(chart);
    this.range = RANGES[document.querySelector("input[name=range]:checked").value];
    byId("ranges").addEventListener("change", (event) => this.choose(RANGES[event.target.value]));
    setInterval(() => this.paintAge(), 250);
  }

  // The direction that is drawn.
  get main() {
    return this.sell.pair ? this.sell : this.buy;
  }

  get drawnSide() {
    return this.sell.pair ? "sell" : "buy";
  }

  // The direction whose venues are shown: that of the ticket, if there is one.
  get faced() {
    return this[this.side].pair ? this.side : this.drawnSide;
  }

  face(side) {
    this.side = side;
    this.paint();
  }

  // What operators have stopped, in either direction.
  get stops() {
    const all = [...this.sell.stops, ...this.buy.stops];
    return all.filter((one, i) => all.findIndex((other) => other.message === one.message) === i);
  }

  // The price of a direction now, tokenOut per tokenIn; null if it is not followed here or too old to trade on.
  best(pair) {
    const { best, heardAt } = SIDES.map((side) => this[side]).find((one) => one.pair === pair) || {};
    return best && Number(best.netPrice) && best.ageMs + Date.now() - heardAt <= this.staleMs ? best.netPrice : null;
  }

  // What keeps orders of a direction from firing, "paused", "halted" or "reducing", as far as it is known here.
  stopOf(pair) {
    const own = SIDES.map((side) => this[side]).find((one) => one.pair === pair);
    const stops = own ? own.stops : this.stops.filter((one) => one.scope !== "pair");
    return stops.find(({ scope, state }) => !["venue", "key"].includes(scope) && (state !== "reducing" || sideOf(pair).side === "buy"))?.state;
  }

  // The price of a side now in quote per base, as decimal text, or null.
  price(side) {
    const best = this.best(this[side].pair);
    return best && side === "buy" ? quotient("1", best, FINE) : best;
  }

  choose(range) {
    this.range = range;
    this.chart.setRange(range);
    if (this.main.begun) this.history.show(this.main.pair, range);
  }

  show(market) {
    if (market.name === this.name) return;
    for (const link of this.links) link.close();
    Object.assign(this, { name: market.name, sell: blank(market.sell), buy: blank(market.buy) });
    this.paint();
    this.links = SIDES.filter((side) => market[side]).map((side) => new Link(`/ws/quotes/${encodeURIComponent(market[side].pair)}`, {
      heard: (message) => this.heard(side, message),
      changed: (state) => this.changed(side, state),
    }));
    for (const side of SIDES) this.changed(side, market[side] ? "connecting" : "live");
  }

  heard(side, message) {
    if (message.error) return;
    const own = this[side];
    clock.heard(message.at);
    own.heardAt = Date.now();
    if (message.kind === "snapshot") this.start(side, message);
    Object.assign(own, { best: message.best, quotes: message.quotes, gap: message.spreadBps });
    // With every message: operators move them while the desk is open.
    Object.assign(this, { freshMs: message.freshMs, staleMs: message.staleMs });
    if (message.stops) own.stops = message.stops;
    if (message.levels) this.takeLevels(side, message.levels);
    if (message.fills?.length) this.takeFills(side, message.fills);
    if (own === this.main) this.drawLive(Date.parse(message.at));
    this.paint();
  }

  // With every connection: the history fills what was missed without one.
  start(side, snapshot) {
    const own = this[side];
    const first = !own.begun;
    Object.assign(own, { begun: true, names: snapshot.venues });
    if (own !== this.main) return;
    // Without a direction that sells there is no tick in quote per base.
    this.tick = side === "sell" ? snapshot.tick : null;
    if (first) this.chart.begin(this.tick || snapshot.tick, side);
    this.chart.setGap(snapshot.staleMs);
    this.history.show(own.pair, this.range);
    this.showLevels();
    this.showFills();
  }

  // A price belongs to the moment it was observed, and is drawn once.
  drawLive(at) {
    const { quotes, best } = this.main;
    for (const { venue, netPrice, ageMs } of quotes) {
      if (ageMs <= this.freshMs) this.chart.add(venue, at - ageMs, netPrice);
    }
    if (best && best.ageMs <= this.freshMs) this.chart.add("BEST", at - Math.min(...quotes.map((one) => one.ageMs)), best.netPrice);
  }

  takeLevels(side, levels) {
    this[side].levels = levels.map(({ price: at, orders }) => ({ side, price: perBase(side, at), orders }));
    this.showLevels();
  }

  showLevels() {
    this.chart.setLevels([...this.sell.levels.slice(0, LISTED / 2), ...this.buy.levels.slice(0, LISTED / 2)]);
  }

  takeFills(side, fills) {
    const known = new Map([...this[side].fills, ...fills.map((one) => fillOf(side, one))].map((one) => [one.txHash, one]));
    this[side].fills = newest([...known.values()]);
    this.showFills();
  }

  get fills() {
    return newest([...this.sell.fills, ...this.buy.fills]);
  }

  showFills() {
    this.chart.setFills(this.fills);
  }

  paint() {
    for (const [id, side] of [["best", "sell"], ["ask", "buy"]]) say(byId(id), price(perBase(side, this[side].best?.netPrice), this.tick));
    const side = this.faced;
    const { best, quotes, gap, heardAt } = this[side];
    for (const one of document.querySelectorAll(".faced")) say(one, side);
    for (const venue of ["RAYDIUM", "METEORA"]) {
      const quote = quotes.find((one) => one.venue === venue);
      const place = byId(`quote-${venue}`);
      say(place, price(perBase(side, quote?.netPrice), this.tick));
      const age = quote && quote.ageMs + Date.now() - heardAt;
      mark(place.parentElement, "title", quote ? `${side === "sell" ? "Selling" : "Buying"} on ${venue}, after its fee; quote ${age < 1_000 ? "under 1 s" : duration(age)} old` : `No quote of ${venue}`);
      place.parentElement.classList.toggle("wins", Boolean(quote) && best?.venue === venue);
      place.parentElement.classList.toggle("old", Boolean(quote) && quote.ageMs > (this.freshMs ?? Infinity));
    }
    // Between prices of now: an old one is no price to compare with.
    const now = quotes.length > 1 && quotes.every((one) => one.ageMs <= this.freshMs);
    say(byId("gap"), bps(now ? gap : null));
    this.paintLevels();
    this.paintFills();
    this.paintAge();
  }

  get age() {
    const { best, heardAt } = this.main;
    return best ? best.ageMs + Date.now() - heardAt : null;
  }

  paintAge() {
    const { age } = this;
    const stale = age !== null && age > this.freshMs;
    say(byId("age"), age === null ? "–" : age < 1_000 ? "< 1 s" : duration(age));
    byId("age").classList.toggle("stale", stale);
    document.body.classList.toggle("stale", stale);
    const flag = byId("stale");
    flag.hidden = !stale;
    // Whole seconds: a screen reader need not hear every tenth.
    const least = age < 5_000 ? this.freshMs / 1_000 : 5 * Math.floor(age / 5_000);
    say(flag, stale ? `Prices are ${age > this.staleMs ? "too old to trade on" : "old"}: over ${least} s` : "");
  }

  paintLevels() {
    const near = [...this.sell.levels.slice(0, LISTED / 2), ...this.buy.levels.slice(0, LISTED / 2)].sort((a, b) => b.price - a.price);
    fill(byId("levels"), near, "None.", ({ side, price: at, orders }) => {
      const now = perBase(side, this[side].best?.netPrice);
      return [price(at, this.tick), now ? percent(at / now - 1) : "–", `${orders} ${side}`];
    });
  }

  paintFills() {
    fill(byId("fills"), this.fills.slice(0, LISTED), "No recent fills.", (one) => [price(one.price, this.tick), figure(one.amount, 5), clockTime(one.at)]);
  }
}

const fillOf = (side, { txHash, at, price: paid, amountIn, amountOut }) =>
  ({ txHash, at, side, price: perBase(side, paid), amount: side === "sell" ? amountIn : amountOut });

const newest = (fills) => fills.sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, 50);

// Reuses the rows that are there: nothing moves that did not change.
function fill(body, items, none, texts) {
  if (!items.length) {
    if (body.dataset.none !== none) body.replaceChildren(make("tr", {}, make("td", { colspan: "3", class: "note" }, none)));
    body.dataset.none = none;
    return;
  }
  if (body.dataset.none) body.replaceChildren();
  body.dataset.none = "";
  items.forEach((item, index) => {
    let row = body.children[index];
    if (!row) {
      row = make("tr", {}, make("td"), make("td"), make("td"));
      body.append(row);
    }
    texts(item).forEach((text, i) => say(row.children[i], text));
    mark(row, "data-side", item.side);
  });
  while (body.children.length > items.length) body.lastElementChild.remove();
}
