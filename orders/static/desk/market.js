// One pair's market: the figures above the chart, the chart, and the lists beside it.

import * as clock from "./clock.js";
import { byId, make, mark, say } from "./dom.js";
import { bps, clockTime, duration, figure, percent, price } from "./format.js";
import { History, RANGES } from "./history.js";
import { Link } from "./link.js";

const LISTED = 12;

export class Market {
  constructor(chart, { changed }) {
    Object.assign(this, { chart, changed, pair: null, tick: "0.01", fills: [], levels: [], best: null, quotes: [], stops: [], names: [] });
    this.history = new History(chart);
    this.range = RANGES[document.querySelector("input[name=range]:checked").value];
    byId("ranges").addEventListener("change", (event) => this.choose(RANGES[event.target.value]));
    setInterval(() => this.paintAge(), 250);
  }

  choose(range) {
    this.range = range;
    this.chart.setRange(range);
    if (this.begun) this.history.show(this.pair, range);
  }

  show(pair) {
    if (pair === this.pair) return;
    this.link?.close();
    Object.assign(this, { pair, fills: [], levels: [], best: null, quotes: [], stops: [], names: [], begun: false, heardAt: 0 });
    this.paint();
    this.link = new Link(`/ws/quotes/${encodeURIComponent(pair)}`, {
      heard: (message) => this.heard(message),
      changed: (state) => this.changed(state),
    });
  }

  heard(message) {
    if (message.error) return;
    clock.heard(message.at);
    this.heardAt = Date.now();
    if (message.kind === "snapshot") this.start(message);
    Object.assign(this, { best: message.best, quotes: message.quotes, spread: message.spreadBps });
    // With every message: operators move them while the desk is open.
    Object.assign(this, { freshMs: message.freshMs, staleMs: message.staleMs });
    if (message.stops) this.stops = message.stops;
    if (message.levels) this.takeLevels(message.levels);
    if (message.fills?.length) this.takeFills(message.fills);
    this.drawLive(Date.parse(message.at));
    this.paint();
  }

  // With every connection: the history fills what was missed without one.
  start(snapshot) {
    if (!this.begun) this.chart.begin(snapshot.tick);
    this.begun = true;
    this.tick = snapshot.tick;
    this.names = snapshot.venues;
    this.chart.setGap(snapshot.staleMs);
    this.history.show(this.pair, this.range);
  }

  // A price belongs to the moment it was observed, and is drawn once.
  drawLive(at) {
    for (const { venue, netPrice, ageMs } of this.quotes) {
      if (ageMs <= this.freshMs) this.chart.add(venue, at - ageMs, netPrice);
    }
    if (this.best && this.best.ageMs <= this.freshMs) this.chart.add("BEST", at - Math.min(...this.quotes.map((one) => one.ageMs)), this.best.netPrice);
  }

  takeLevels(levels) {
    this.levels = levels;
    this.chart.setLevels(levels);
  }

  takeFills(fills) {
    const known = new Map([...this.fills, ...fills].map((one) => [one.txHash, one]));
    this.fills = [...known.values()].sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, 50);
    this.chart.setFills(this.fills);
  }

  paint() {
    say(byId("best"), price(this.best?.netPrice, this.tick));
    for (const venue of ["RAYDIUM", "METEORA"]) {
      const quote = this.quotes?.find((one) => one.venue === venue);
      const place = byId(`quote-${venue}`);
      say(place, price(quote?.netPrice, this.tick));
      place.parentElement.classList.toggle("wins", Boolean(quote) && this.best?.venue === venue);
      place.parentElement.classList.toggle("old", Boolean(quote) && quote.ageMs > (this.freshMs ?? Infinity));
    }
    say(byId("spread"), bps(this.best ? this.spread : null));
    this.paintLevels();
    this.paintFills();
    this.paintAge();
  }

  get age() {
    return this.best ? this.best.ageMs + Date.now() - this.heardAt : null;
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
    const best = this.best ? Number(this.best.netPrice) : null;
    fill(byId("levels"), this.levels.slice(0, LISTED), "None.", (one) => [
      price(one.price, this.tick), best ? percent(Number(one.price) / best - 1) : "–", String(one.orders)]);
  }

  paintFills() {
    fill(byId("fills"), this.fills.slice(0, LISTED), "No recent fills.", (one) => [price(one.price, this.tick), figure(one.amountIn, 5), clockTime(one.at)],
      (one) => one.venue);
  }
}

// Reuses the rows that are there: nothing moves that did not change.
function fill(body, items, none, texts, venue = () => null) {
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
    const by = venue(item);
    if (by) mark(row, "data-venue", by);
  });
  while (body.children.length > items.length) body.lastElementChild.remove();
}
