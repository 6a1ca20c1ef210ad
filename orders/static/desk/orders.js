// The list of orders: who is in it, in which order, and their events over one socket.

import * as api from "./api.js";
import { byId, make, say } from "./dom.js";
import { Link } from "./link.js";
import { Row } from "./row.js";
import { marketName, sideOf } from "./sides.js";
import { begin, ending, isOver, isSniping, tell } from "./story.js";
import { toast } from "./toasts.js";
import { now } from "./clock.js";

const PAGE = 50;
// Fewer than the orders one socket follows, so that it never has to refuse.
const ROWS_MAX = 900;
const PAGES_MAX = ROWS_MAX / PAGE;
const BATCH = 500;
const SNIPERS_MAX = 200;
const ARRIVALS_MS = 3_000;
const TICK_MS = 200;
// What one frame may spend on rows; the rest waits for the next, so that the page stays smooth.
const FRAME_MS = 5;
// And at most: a page that gets few frames catches up in those.
const FRAME_MAX_MS = 20;
const TONES = { confirmed: "good", failed: "bad" };
// Whoever sees no others' orders sees their own.
const YOURS = document.body.dataset.orders === "own";
const OPEN = ["pending", "triggered", "routing", "building", "submitted"];

// Where an order is taken up: behind the last event that is here.  Epoch 0 is what the engine assumes without.
const cursor = ({ id, seq, epoch }) => ({ orderId: id, after: seq, ...(epoch ? { epoch } : {}) });

export class Orders {
  // `best(pair)` and `stopOf(pair)` as the market has them; `ended(order)` is told of those that this desk placed.
  constructor({ changed, best, stopOf, ended }) {
    Object.assign(this, { best, stopOf, ended, orders: new Map(), rows: new Map(), mine: new Set(), dirty: new Set(), unbuilt: [], drawnAt: 0, next: null, reading: null });
    this.filters = { status: "", type: "", pair: "" };
    this.link = new Link("/ws/orders", {
      opened: () => this.resume(),
      heard: (message) => this.heard(message),
      changed,
      beat: () => this.beat(),
    });
    this.listen();
    this.reload();
    setInterval(() => this.arrivals(), ARRIVALS_MS);
    setInterval(() => this.conditions(), ARRIVALS_MS);
    setInterval(() => this.tick(), TICK_MS);
  }

  listen() {
    const form = byId("filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => {
      this.filters = Object.fromEntries(new FormData(form));
      byId("export").href = api.listed({ ...this.chosen, format: "csv" });
      this.reload();
    });
    byId("older").addEventListener("click", () => this.older());
  }

  // What is chosen, in the API's own filters.
  get chosen() {
    const { status, type, pair } = this.filters;
    return { status: status === "open" ? OPEN : status, type, pair };
  }

  get query() {
    return { ...this.chosen, limit: PAGE };
  }

  fits(order) {
    const { status, type, pair } = this.filters;
    const fitting = !status || (status === "open" ? !isOver(order) : order.status === status);
    return order.seq === 0 || (fitting && (!type || order.type === type) && (!pair || order.pair === pair));
  }

  async reload() {
    this.reading?.abort();
    this.reading = new AbortController();
    const { signal } = this.reading;
    try {
      const page = await api.list(this.query, signal);
      this.next = page.next;
      this.keepOnly(page.results.map((one) => one.orderId));
      this.take(page.results);
      this.started = true;
    } catch (reason) {
      if (signal.aborted) return;
      this.next = null;
      setTimeout(() => !signal.aborted && this.reload(), 2_000);
    }
    this.summary();
  }

  async older() {
    const button = byId("older");
    if (!this.next || button.disabled) return;
    button.disabled = true;
    try {
      const page = await api.page(this.next, this.reading?.signal);
      this.next = page.next;
      this.take(page.results);
    } catch {
      // The button stays: whoever wants more presses it again.
    }
    button.disabled = false;
    this.summary();
  }

  // Orders come from elsewhere too: from the terminal, from scripts, from another desk.
  async arrivals() {
    if (document.hidden || this.polling) return;
    this.polling = true;
    const signal = this.reading?.signal;
    try {
      let page = await api.list(this.query, signal);
      // A page of nothing but new ones: there are more behind it.
      for (let pages = 1; !signal?.aborted && this.takeNew(page.results) && page.next && pages < PAGES_MAX; pages += 1) {
        page = await api.page(page.next, signal);
      }
    } catch {
      // The socket's state already says that the server is away.
    }
    this.polling = false;
    this.summary();
  }

  // What sniper orders wait for is in no event.
  async conditions() {
    if (document.hidden || ![...this.rows.values()].some((row) => isSniping(row.order))) return;
    const found = await api.list({ type: "sniper", status: "pending", limit: SNIPERS_MAX }).catch(() => ({ results: [] }));
    for (const one of found.results) this.rows.get(one.orderId)?.waitFor(one.resting);
  }

  // Takes the orders that are not here yet; tells whether all were such.
  takeNew(found) {
    const fresh = found.filter((one) => !this.orders.has(one.orderId));
    this.makeRoom(fresh.length);
    this.take(fresh);
    return this.started && fresh.length === found.length;
  }

  take(found) {
    this.see(found.map((one) => one.orderId));
  }

  // An order this desk placed: its end is told.
  placed(id) {
    this.mine.add(id);
    this.makeRoom(1);
    this.see([id]);
    this.summary();
  }

  // Brings an order's row into view, opened.
  show(id) {
    const row = this.rows.get(id);
    row?.open(true);
    row?.element.scrollIntoView();
    row?.toggle.focus({ preventScroll: true });
  }

  see(ids) {
    const fresh = ids.filter((id) => !this.orders.has(id)).slice(0, Math.max(0, ROWS_MAX - this.orders.size));
    for (const id of fresh) this.orders.set(id, { ...begin(id), isYours: YOURS || this.mine.has(id) });
    this.unbuilt.push(...fresh);
    this.follow(fresh);
    if (fresh.length) this.schedule();
  }

  // Newest first: ids sort by time.
  insert(row) {
    const rows = byId("rows");
    this.rows.set(row.order.id, row);
    row.element.hidden = !this.fits(row.order);
    let before = rows.lastElementChild?.dataset.order > row.order.id ? null : rows.firstElementChild;
    while (before && before.dataset.order > row.order.id) before = before.nextElementSibling;
    rows.insertBefore(row.element, before);
  }

  // The oldest rows give way to new orders; "Older" brings them back after the next choice of a filter.
  makeRoom(count) {
    const excess = this.orders.size + count - ROWS_MAX;
    if (excess > 0) this.keepOnly([...this.orders.keys()].sort().slice(excess));
  }

  keepOnly(ids) {
    const kept = new Set(ids);
    for (const id of [...this.orders.keys()]) {
      if (kept.has(id)) continue;
      this.rows.get(id)?.element.remove();
      this.rows.delete(id);
      this.orders.delete(id);
      this.unfollow(id);
    }
    this.flushUnfollows();
  }

  unfollow(id) {
    (this.gone ||= []).push(id);
  }

  flushUnfollows() {
    const gone = this.gone || [];
    this.gone = [];
    for (let i = 0; i < gone.length; i += BATCH) this.link.send({ unfollow: gone.slice(i, i + BATCH) });
  }

  follow(ids) {
    for (let i = 0; i < ids.length; i += BATCH) {
      const follow = ids.slice(i, i + BATCH).map((id) => cursor(this.orders.get(id)));
      this.link.send({ follow });
    }
  }

  // The line is back: go on where each order was left.
  resume() {
    this.follow([...this.orders.values()].filter((order) => !isOver(order)).map((order) => order.id));
  }

  beat() {
    return { follow: [] };
  }

  heard(message) {
    if (message.error || message.following !== undefined) return;
    const order = this.orders.get(message.orderId);
    if (!order) return;
    const outcome = tell(order, message);
    // Some are missing, or it is another history than the one that was told here.
    if (outcome === "gap") this.follow([order.id]);
    if (outcome !== "new") return;
    this.dirty.add(order.id);
    if (isOver(order) && this.mine.delete(order.id)) {
      toast(ending(order), TONES[order.status]);
      this.ended(order);
    }
    this.schedule();
  }

  // However many events arrive, a row is painted once a frame.
  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame((at) => {
      this.frame = null;
      const until = performance.now() + Math.min(FRAME_MAX_MS, Math.max(FRAME_MS, (at - this.drawnAt) / 4));
      this.drawnAt = at;
      this.build(until);
      this.paint(until);
      if (this.unbuilt.length || this.dirty.size) this.schedule();
      this.summary();
    });
  }

  build(until) {
    while (this.unbuilt.length && performance.now() < until) {
      const order = this.orders.get(this.unbuilt.shift());
      if (order && !this.rows.has(order.id)) this.insert(new Row(order));
    }
  }

  paint(until) {
    const at = now();
    for (const id of this.dirty) {
      if (performance.now() >= until) return;
      const row = this.rows.get(id);
      // One that is not built yet is painted as it stands when it is.
      this.dirty.delete(id);
      row?.paint(at);
      if (row) row.element.hidden = !this.fits(row.order);
    }
  }

  // Time passes in the stages that are going on, and prices move.
  tick() {
    if (document.hidden) return;
    const at = now();
    for (const row of this.rows.values()) {
      if (isOver(row.order)) continue;
      row.pass(at);
      row.distance(this.best(row.order.pair));
      row.hold(this.stopOf(row.order.pair));
    }
  }

  summary() {
    let open = 0;
    for (const order of this.orders.values()) if (order.seq && !isOver(order)) open += 1;
    say(byId("counts"), this.orders.size ? `${open} of ${this.orders.size} open` : "");
    byId("older").hidden = !this.next || this.orders.size >= ROWS_MAX;
    byId("empty").hidden = this.orders.size > 0;
    say(byId("empty"), Object.values(this.filters).some(Boolean) ? "No orders match these filters." : "No orders yet.");
  }

  offerPairs(names) {
    const select = byId("by-pair");
    const known = new Set([...select.options].map((one) => one.value));
    for (const name of names) if (!known.has(name)) select.append(make("option", { value: name }, `${marketName(name)} ${sideOf(name).side}`));
  }
}
