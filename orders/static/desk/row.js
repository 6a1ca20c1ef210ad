// One order: a line with its stages, and beneath it, when opened, all that is known.

import * as api from "./api.js";
import { amendForm } from "./amend.js";
import { now } from "./clock.js";
import { make, mark, say } from "./dom.js";
import { NONE, bps, capital, cost, duration, figure, percent, when } from "./format.js";
import { marketName, perBase, sideOf } from "./sides.js";
import { LABELS, attempts, elapsed, isOver, isSniping, isWaiting, keyOf, line, problemOf, sentence, stagesOf, steps, valued } from "./story.js";

const cell = (name, ...inside) => make("div", { class: name, role: "cell" }, ...inside);

export class Row {
  constructor(order) {
    this.order = order;
    this.segments = [];
    this.build();
    this.paint(now());
  }

  build() {
    const detailId = `detail-${this.order.id}`;
    this.time = make("span", { class: "time" }, NONE);
    this.toggle = make("button", { type: "button", class: "toggle", "aria-expanded": "false", "aria-controls": detailId,
      on: { click: () => this.open(!this.isOpen) } }, make("i", { class: "chevron" }), this.time);
    this.what = make("b");
    this.terms = make("small");
    this.amount = make("span");
    this.token = make("small");
    this.line = make("ol", { class: "line" });
    this.note = make("p", { class: "why" });
    this.venue = make("span");
    this.why = make("small", { class: "clip" });
    this.price = make("span");
    this.slippage = make("small");
    this.problem = make("p", { class: "problem" });
    this.problemCell = cell("c-problem", this.problem);
    this.problemCell.hidden = true;
    this.actions = make("div", { class: "actions" });
    this.amendButton = make("button", { type: "button", class: "quiet", on: { click: () => this.amend() } }, "Amend");
    this.cancelButton = make("button", { type: "button", class: "quiet danger", on: { click: () => this.cancel() } }, "Cancel");
    this.actions.append(this.amendButton, this.cancelButton);
    this.summary = make("div", { class: "row", role: "row" },
      cell("c-time", this.toggle), cell("c-what", this.what, this.terms), cell("c-amount num", this.amount, this.token),
      cell("c-line", this.line), cell("c-venue", this.venue, this.why), cell("c-price num", this.price, this.slippage),
      cell("c-act", this.actions), this.problemCell);
    this.detailCell = cell("inner");
    this.detail = make("div", { class: "detail", id: detailId, role: "row", hidden: true }, this.detailCell);
    this.element = make("div", { class: "order", "data-order": this.order.id, role: "presentation" }, this.summary, this.detail);
    // Out of sight nothing needs to tick.
    this.element.addEventListener("contentvisibilityautostatechange", (event) => { this.skipped = event.skipped; });
  }

  // Shows the order as its events tell it; `at` is the engine's time.
  paint(at) {
    const { order } = this;
    mark(this.element, "data-status", order.status || "unknown");
    mark(this.element, "data-seq", String(order.seq));
    if (!order.seq) return;
    const { side } = sideOf(order.pair);
    const name = `${side} ${order.type} ${marketName(order.pair)}`;
    say(this.time, when(order.events[0].at));
    say(this.what, marketName(order.pair));
    mark(this.element, "data-side", side);
    say(this.terms, termsOf(order));
    say(this.amount, `${order.terms.amountOut && !order.got ? "≤ " : ""}${figure(order.got?.amountIn ?? order.terms.amountIn)}`);
    say(this.token, order.pair.split("-")[0]);
    mark(this.toggle, "aria-label", `${when(order.events[0].at)}, ${name}, ${order.terms.amountOut ? "at most " : ""}${order.terms.amountIn}, ${order.status}: details`);
    say(this.venue, order.venue || NONE);
    const waits = isWaiting(order);
    const held = waits && this.held ? `does not fire: ${this.held}` : "";
    const trouble = problemOf(order) || held || (isOver(order) ? "" : order.trouble);
    say(this.why, briefly(order.why));
    say(this.problem, trouble ? `${capital(trouble)}.` : "");
    this.problemCell.hidden = !trouble;
    mark(this.terms, "title", termsOf(order));
    mark(this.why, "title", order.why || "");
    say(this.price, figure(perBase(side, order.got?.executedPrice)));
    say(this.slippage, order.got ? cost(order.got.slippageBps) : "");
    if (waits) this.distance(this.best);
    if (waits) this.waitFor(this.resting);
    this.amendButton.hidden = !waits || order.terms.timeInForce === "ioc";
    this.cancelButton.hidden = order.status !== "pending";
    mark(this.amendButton, "aria-label", `Amend ${name}`);
    mark(this.cancelButton, "aria-label", `Cancel ${name}`);
    this.paintLine(at);
    if (this.isOpen) this.paintDetail();
  }

  // What keeps it from firing while it rests: "paused", "halted", "reducing" or nothing.
  hold(stop) {
    if (stop === this.held) return;
    this.held = stop;
    this.paint(now());
  }

  // How far the price has to go to a limit order that rests; `best` is the price of its direction now.
  distance(best) {
    this.best = best;
    const { limitPrice } = this.order.terms;
    if (!isWaiting(this.order) || !limitPrice) return;
    const { side } = sideOf(this.order.pair);
    const away = best ? perBase(side, limitPrice) / perBase(side, best) - 1 : null;
    say(this.slippage, away === null ? "" : `${percent(away)} away`);
  }

  // What a sniper order waits for, as the market shows it now; `resting` as the API has it.
  waitFor(resting) {
    this.resting = resting;
    if (!resting || !isSniping(this.order)) return;
    const { conditions, best } = resting;
    const { maxPrice } = this.order.terms;
    const now = best ? 1 / Number(best) : null;
    this.waits = [...(conditions || []).map((one) => [one.kind, valued(one), one.met ? "met" : "not met"]),
      ...(maxPrice ? [["price", now ? `${figure(now)}, at most ${figure(maxPrice)}` : "no price", now && now <= Number(maxPrice) ? "met" : "not met"]] : [])];
    const met = this.waits.filter(([, , verdict]) => verdict === "met").length;
    say(this.slippage, conditions ? `${met} of ${this.waits.length} met` : "");
    if (this.isOpen) this.paintWaits();
  }

  paintWaits() {
    const rows = isSniping(this.order) && this.waits;
    this.waiting.hidden = !rows;
    if (rows) this.waiting.replaceChildren(make("h3", {}, "Waits for"), table(["Condition", "Now", ""], rows));
  }

  paintLine(at) {
    const stages = stagesOf(this.order);
    if (this.segments.length !== stages.length) {
      this.segments = stages.map((stage) => {
        const label = make("span", {}, LABELS[stage]);
        const spent = make("small");
        const element = make("li", { "data-stage": stage }, make("i"), label, spent);
        return { element, label, spent };
      });
      this.line.replaceChildren(...this.segments.map((one) => one.element));
    }
    line(this.order, at).forEach((one, index) => {
      const { element, label, spent } = this.segments[index];
      mark(element, "data-state", one.state);
      const ended = isOver(this.order) && !["done", "never", "left"].includes(one.state);
      say(label, ended ? LABELS[one.state] : LABELS[one.stage]);
      say(spent, one.ms === null ? (one.stage === "confirmed" && one.state === "done" ? totalOf(this.order) : "") : duration(one.ms));
      if (one.state === "now") mark(element, "aria-current", "step");
      else element.removeAttribute("aria-current");
    });
  }

  // Time has passed; nothing else has.
  pass(at) {
    if (!this.order.seq || this.skipped || this.element.hidden) return;
    const stages = line(this.order, at);
    const running = stages.findIndex((one) => one.state === "now");
    // One whose events have come, but not its turn to be painted, has no segments yet.
    if (running >= 0 && this.segments[running]) say(this.segments[running].spent, duration(stages[running].ms));
  }

  get isOpen() {
    return !this.detail.hidden;
  }

  open(yes) {
    this.detail.hidden = !yes;
    mark(this.toggle, "aria-expanded", String(yes));
    if (yes) this.paintDetail();
  }

  paintDetail() {
    const { order } = this;
    if (!this.timeline) {
      this.message = make("p", { class: "note", role: "status" });
      this.form = make("div");
      this.waiting = make("div", { class: "waits", hidden: true });
      this.timeline = make("ol", { class: "timeline" });
      this.tries = make("div");
      this.detailCell.append(
        make("p", { class: "ids" }, make("span", {}, "Order "), make("code", {}, order.id)),
        this.message, this.form, this.waiting,
        make("div", {}, make("h3", {}, "Timeline"), this.timeline),
        make("div", { class: "attempts" }, make("h3", {}, "Attempts"), this.tries));
    }
    this.paintTimeline();
    this.paintWaits();
    const signed = attempts(order);
    this.tries.replaceChildren(signed.length ? attemptTable(signed) : make("p", { class: "note" }, "No transaction has been signed."));
    if (!isWaiting(order)) this.form.replaceChildren();
  }

  // Touches only what differs: what was taken back goes, and what is new comes.
  paintTimeline() {
    const told = steps(this.order);
    const shown = this.timeline.children;
    let same = 0;
    while (same < told.length && shown[same]?.dataset.key === keyOf(told[same])) same += 1;
    while (shown.length > same) this.timeline.lastElementChild.remove();
    for (const step of told.slice(same)) this.timeline.append(step.rewoundTo ? takenBack(step) : entry(step, this.order));
    told.forEach((step, index) => !step.rewoundTo && say(shown[index].querySelector("small"), spentAt(step, this.order)));
  }

  tellUser(text) {
    this.open(true);
    say(this.message, text);
  }

  async cancel() {
    this.cancelButton.disabled = true;
    try {
      await api.cancel(this.order.id);
    } catch (reason) {
      this.tellUser(reason instanceof api.Refused ? `Not cancelled: ${reason.message}.` : "No answer; the order may have been cancelled. It is safe to try again.");
    }
    this.cancelButton.disabled = false;
  }

  amend() {
    this.open(true);
    const form = amendForm(this.order, {
      done: (text) => {
        this.form.replaceChildren();
        this.tellUser(text);
        this.amendButton.focus();
      },
      dropped: () => {
        this.form.replaceChildren();
        this.amendButton.focus();
      },
    });
    this.form.replaceChildren(form);
    form.querySelector("input").focus();
  }
}

function termsOf(order) {
  const { amountOut, limitPrice, maxPrice, trigger, expiresAt, timeInForce } = order.terms;
  const { side } = sideOf(order.pair);
  // Only a market order is for an exact amount.
  const parts = [order.type === "sniper" ? "sniper" : amountOut ? side : `${side} ${order.type}`];
  if (amountOut) parts.push(`${side === "buy" ? "exactly" : "for exactly"} ${figure(amountOut, 9)} ${order.pair.split("-")[1]}`);
  if (limitPrice) parts.push(`at ${figure(perBase(side, limitPrice))}`);
  if (trigger) parts.push(`on ${trigger.map((one) => (one.kind === "launch" ? "launch" : `${one.kind} ≥ ${figure(one.atLeast)}`)).join(" and ")}`);
  if (maxPrice) parts.push(`at most ${figure(maxPrice)}`);
  if (expiresAt) parts.push(`until ${when(expiresAt)}`);
  if (timeInForce === "ioc") parts.push("immediate or cancel");
  return parts.join(" ");
}

// The reason for the venue in so few words that a row can hold it; the timeline has all of them.
function briefly(why) {
  const lead = /pays (-?[\d.]+) bps more/.exec(why || "");
  return lead ? `${Math.round(lead[1])} bps better` : (why || "").replace(/^(tries again|rests again):.*/, "$1");
}

const totalOf = (order) => `total ${duration(elapsed(order))}`;

// How long the order stayed at a step, or in the end took.
function spentAt(event, order) {
  const next = order.events[event.seq];
  if (next) return duration(Date.parse(next.at) - Date.parse(event.at));
  return isOver(order) ? totalOf(order) : "";
}

function entry(event, order) {
  return make("li", { "data-key": keyOf(event), "data-seq": event.seq, "data-status": event.status },
    make("span", { class: "seq" }, String(event.seq)),
    make("time", { datetime: event.at }, when(event.at)), make("small", { class: "num" }),
    make("b", {}, event.status), make("span", { class: "said" }, sentence(event, order)),
    event.txHash ? make("code", { class: "hash" }, event.txHash) : null,
    event.quotes ? quotesTable(event.quotes, event.missing, sideOf(order.pair).side) : null,
    event.gates ? checksTable(event.gates) : null);
}

const takenBack = (rewind) => make("li", { class: "back", "data-key": keyOf(rewind) }, make("span", { class: "said" }, sentence(rewind)));

// On a narrow screen it scrolls, and so must be within the keyboard's reach.
function table(heads, rows, wide = false) {
  return make("table", { class: "small", tabindex: wide ? "0" : null },
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((one) => make("td", {}, one ?? NONE))))));
}

const quotesTable = (quotes, missing = [], side) =>
  table(["Venue", "Price", "Fee", "Pays", "Age"], [
    ...quotes.map((one) => [one.venue, figure(perBase(side, one.price)), `${one.feeBps} bps`, figure(one.amountOut, 9), duration(one.ageMs)]),
    ...missing.map((venue) => [venue, "no usable quote", NONE, NONE, NONE])]);

const checksTable = (gates) => table(["Token check", "Value", "Verdict", "Why"], gates.map((one) => [one.gate, one.value ?? "unknown", one.verdict, one.reason]), true);

const attemptTable = (found) =>
  table(["Attempt", "Venue", "Transaction", "Expected", "At least", "Outcome"],
    found.map((one) => [String(one.number), one.venue, make("code", { class: "hash" }, one.txHash), figure(one.expectedOut, 9), figure(one.minimumOut, 9), one.outcome]), true);
