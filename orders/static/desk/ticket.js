// The order ticket: only the fields that apply, what it would get before it is sent, and errors where they belong.

import * as api from "./api.js";
import { byId, make, mark, say } from "./dom.js";
import { clearErrors, firstWrong, moment, showErrors } from "./fields.js";
import { bps, duration, figure } from "./format.js";

const DEBOUNCE_MS = 250;
const AGAIN_MS = 2_000;
const TRIES_MAX = 7;

export class Ticket {
  constructor({ placed }) {
    this.form = byId("order");
    this.placed = placed;
    this.pair = { pair: "SOL-USDC", tokenIn: { symbol: "SOL" }, tokenOut: { symbol: "USDC" } };
    this.form.addEventListener("input", (event) => this.edited(event));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    setInterval(() => !document.hidden && this.estimated && this.estimate(), AGAIN_MS);
    this.fit();
  }

  get type() {
    return this.form.elements.type.value;
  }

  trade(pair) {
    this.pair = pair;
    say(byId("sold"), pair.tokenIn.symbol);
    say(byId("priced"), `${pair.tokenOut.symbol} per ${pair.tokenIn.symbol}`);
    say(byId("capped"), `${pair.tokenIn.symbol} per token`);
    this.edited({ target: this.form });
  }

  offerTokens(symbols) {
    byId("tokens").replaceChildren(...symbols.map((value) => make("option", { value })));
  }

  // Shows the fields this type has.
  fit() {
    const { type } = this;
    for (const one of this.form.querySelectorAll("[data-for]")) {
      const waits = one.dataset.when ? this.form.elements.timeInForce.value === one.dataset.when : true;
      one.hidden = !one.dataset.for.split(" ").includes(type) || !waits;
    }
    const life = this.form.elements.timeInForce;
    if (type === "sniper" && life.value === "ioc") life.value = "gtc";
    mark(this.form, "data-type", type);
    if (!this.sending) say(byId("place"), `Place ${type} order`);
  }

  edited(event) {
    if (event.target.name === "type") {
      clearErrors(this.form);
      this.blank();
    }
    event.target.removeAttribute?.("aria-invalid");
    this.fit();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.estimate(), DEBOUNCE_MS);
  }

  // The body of the request: what is blank is left out, and the API says what is missing.
  order() {
    const { type } = this;
    const text = (name) => this.form.elements[name].value.trim();
    const order = { type, tokenIn: this.pair.tokenIn.symbol, tokenOut: this.pair.tokenOut.symbol };
    if (text("amount")) order.amount = text("amount");
    if (text("slippageBps")) order.slippageBps = whole(text("slippageBps"));
    if (type === "market") return order;
    order.timeInForce = text("timeInForce");
    if (order.timeInForce === "gtd" && text("expiresAt")) order.expiresAt = moment(text("expiresAt"));
    if (type === "limit") {
      if (text("limitPrice")) order.limitPrice = text("limitPrice");
      return order;
    }
    order.tokenOut = text("tokenOut");
    const trigger = this.trigger(text);
    if (trigger.length) order.trigger = trigger;
    if (text("maxPrice")) order.maxPrice = text("maxPrice");
    if (this.form.elements.allowUnknown.checked) order.allowUnknown = true;
    return order;
  }

  trigger(text) {
    const { launch, liquidity, volume } = this.form.elements;
    const found = [];
    if (launch.checked) found.push({ kind: "launch" });
    if (liquidity.checked) found.push({ kind: "liquidity", atLeast: text("liquidityAtLeast") });
    if (volume.checked) found.push({ kind: "volume", atLeast: text("volumeAtLeast"), windowS: whole(text("volumeWindow")) });
    return found;
  }

  // Whether there is enough to ask about: nobody is told off for what they have not typed yet.
  isWhole(order) {
    return Boolean(order.amount && order.tokenOut && (order.type !== "limit" || order.limitPrice) && (order.type !== "sniper" || order.trigger)
      && (order.timeInForce !== "gtd" || order.expiresAt));
  }

  async estimate() {
    this.asking?.abort();
    const order = this.order();
    if (!this.isWhole(order)) {
      this.blank();
      if (!this.refused) clearErrors(this.form);
      return;
    }
    const asking = new AbortController();
    this.asking = asking;
    try {
      const found = await api.estimate(order, asking.signal);
      if (asking.signal.aborted) return;
      clearErrors(this.form);
      this.refused = false;
      this.estimated = true;
      this.paint(found);
    } catch (reason) {
      if (asking.signal.aborted) return;
      if (reason.status === 400) {
        // Asking again would not change the answer; typing does.
        this.estimated = false;
        this.blank();
        this.showRefusal(reason);
      } else {
        this.blank("No estimate available.");
        this.estimated = true;
      }
    }
  }

  blank(text = "") {
    this.estimated = false;
    byId("estimate").replaceChildren(...rowsOf(this.type === "sniper" ? [] : EMPTY));
    say(byId("problem"), text);
  }

  paint(found) {
    byId("estimate").replaceChildren(...rowsOf([...(found.fill ? fillRows(found) : EMPTY), ...limitRows(found), ...sniperRows(found)]));
    say(byId("problem"), found.problem && !(found.sniper && found.problem.code === "no_quote") ? found.problem.message : "");
  }

  async submit() {
    if (this.sending) return;
    this.asking?.abort();
    clearErrors(this.form);
    this.busy(true);
    // A name of its own makes asking again safe: the engine answers with the same order.
    const order = { ...this.order(), clientOrderId: `desk-${randomHex()}` };
    try {
      const accepted = await this.send(order);
      say(byId("outcome"), `Accepted as ${accepted.orderId.slice(0, 8)}….`);
      this.placed(accepted.orderId);
    } catch (reason) {
      this.refused = reason.status === 400;
      say(byId("outcome"), reason.status ? `Not placed: ${this.showRefusal(reason)}` : "No answer. The order may have been accepted; check the list below before you send it again.");
      firstWrong(this.form)?.focus();
    }
    this.busy(false);
  }

  async send(order) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await api.place(order);
      } catch (reason) {
        if (reason instanceof api.Refused || tries >= TRIES_MAX) throw reason;
        say(byId("outcome"), "No answer; retrying…");
        await new Promise((go) => setTimeout(go, Math.min(4_000, 250 * 2 ** tries)));
      }
    }
  }

  showRefusal(reason) {
    const left = showErrors(this.form, reason.fields);
    if (!reason.fields.length) return `${reason.message}.`;
    if (left.length) say(byId("problem"), left.join("; "));
    return left.length ? left.join("; ") : "see above.";
  }

  busy(yes) {
    this.sending = yes;
    byId("place").setAttribute("aria-busy", String(yes));
    if (yes) say(byId("place"), "Placing…");
    else this.fit();
  }
}

const EMPTY = [["Venue", "–"], ["Price", "–"], ["Fee", "–"], ["You get about", "–"], ["At least", "–"], ["Impact", "–"]];

function fillRows({ fill, limit, tokenIn, tokenOut }) {
  // What a limit order that still waits will get is more than what there is to be had now.
  const waits = limit && limit.awayBps !== "0";
  return [
    ["Venue", `${fill.venue}, quote ${duration(fill.ageMs)} old`, fill.fresh ? "" : "old", fill.reason],
    ["Price", figure(fill.expectedPrice)],
    ["Fee", `${figure(fill.fee)} ${tokenIn} (${fill.feeBps} bps)`],
    [waits ? "Now it would be" : "You get about", `${figure(fill.expectedOut, 9)} ${tokenOut}`, "strong"],
    ["At least", `${figure(fill.minimumOut, 9)} ${tokenOut}`],
    ["Impact", bps(fill.impactBps)],
  ];
}

function limitRows({ limit }) {
  if (!limit) return [];
  const there = limit.awayBps === "0";
  return [["Best now", limit.best ? `${figure(limit.best)}, ${there ? "reached" : `${figure(limit.awayBps)} bps away`}` : "unknown", there ? "good" : ""]];
}

function sniperRows({ sniper }) {
  if (!sniper) return [];
  return [
    ["Token", sniper.listed ? "listed" : "not listed yet"],
    ...sniper.conditions.map((one) => [one.kind, `${figure(one.value)}${one.atLeast ? ` of ${figure(one.atLeast)} USD` : one.value === "1" ? " pool" : " pools"}`, one.met ? "good" : "", one.met ? "met" : "not met"]),
    ...sniper.gates.map((one) => [`Token check ${one.gate}`, `${one.verdict}: ${one.reason}`, one.verdict === "pass" ? "good" : "old"]),
  ];
}

const rowsOf = (rows) => rows.map(([name, value, kind, title]) => make("div", { class: kind || null, title }, make("dt", {}, name), make("dd", {}, value)));

const whole = (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text);

function randomHex() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
