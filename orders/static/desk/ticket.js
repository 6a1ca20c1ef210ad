// The order ticket: only the fields that apply, what it would get before it is sent, and errors where they belong.

import * as api from "./api.js";
import { byId, make, mark, say } from "./dom.js";
import { emptyRows, estimateRows, isLarge, obstacle } from "./estimate.js";
import { clearErrors, firstWrong, moment, showErrors } from "./fields.js";
import { bps, figure } from "./format.js";
import { Placing, Unanswered } from "./placing.js";
import { agreed } from "./question.js";

const DEBOUNCE_MS = 250;
const AGAIN_MS = 2_000;
// How long an order waits for its estimate before it is placed without one.
const ESTIMATE_MS = 1_500;

export class Ticket {
  constructor({ placed }) {
    this.form = byId("order");
    this.placed = placed;
    this.placing = new Placing(() => say(byId("outcome"), "No answer; retrying…"));
    this.found = null;
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

  // What has not been typed yet, which is a hint and no error.
  lacking(order) {
    if (!order.amount) return "Enter an amount.";
    if (!order.tokenOut) return "Name the token to buy.";
    if (order.type === "limit" && !order.limitPrice) return "Enter a limit price.";
    if (order.type === "sniper" && !order.trigger) return "Choose what the order waits for.";
    return order.timeInForce === "gtd" && !order.expiresAt ? "Enter until when it waits." : "";
  }

  async estimate() {
    this.asking?.abort();
    const order = this.order();
    const lacking = this.lacking(order);
    if (lacking) {
      this.blank(lacking, true);
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
      this.paint(order, found);
    } catch (reason) {
      if (asking.signal.aborted) return;
      if (reason.status === 400) {
        // Asking again would not change the answer; typing does.
        this.blank();
        this.showRefusal(reason);
      } else {
        this.blank("No estimate available.");
        this.estimated = true;
      }
    }
  }

  blank(text = "", blocks = false) {
    this.estimated = false;
    this.found = null;
    byId("estimate").replaceChildren(...emptyRows(this.type));
    this.explain(text, blocks);
  }

  paint(order, found) {
    this.found = { terms: JSON.stringify(order), ...found };
    byId("estimate").replaceChildren(...estimateRows(found));
    const problem = obstacle(found, order.timeInForce);
    this.explain(problem?.message, problem?.blocks);
  }

  // The reason stands at the button, and is its description.
  explain(text = "", blocks = false) {
    this.blocked = blocks;
    say(byId("problem"), text);
    byId("problem").classList.toggle("hint", !this.found);
    mark(byId("place"), "aria-disabled", String(blocks));
  }

  async submit() {
    if (this.sending) return;
    const order = this.order();
    if (this.lacking(order)) {
      this.estimate();
      return;
    }
    clearErrors(this.form);
    this.busy(true);
    await this.known(order);
    if (!this.blocked && (await this.confirmed(order))) await this.place(order);
    this.busy(false);
  }

  // Waits, not for long, until what this very order would get is known.
  async known(order) {
    if (this.found?.terms === JSON.stringify(order)) return;
    clearTimeout(this.timer);
    this.blocked = false;
    await Promise.race([this.estimate(), new Promise((go) => setTimeout(go, ESTIMATE_MS))]);
    this.asking?.abort();
  }

  // Asks before what is hard to take back: another order while one may have been accepted, and a large one.
  async confirmed(order) {
    const terms = JSON.stringify(order);
    if (this.placing.differs(order)) {
      const sure = await agreed({ title: "Place another order?", yes: "Place this one as well", no: "Go back",
        text: "There was no answer to the order before, so it may have been accepted. The list below shows it if it was. This ticket has changed since and would be a second order." });
      if (!sure) return false;
    }
    if (this.found?.terms !== terms || !isLarge(this.found) || this.large === terms) return true;
    const sure = await agreed({ title: "Place this large order?", yes: `Place ${order.type} order`, no: "Go back",
      text: `Its size moves the price by ${bps(this.found.fill.impactBps)} against you: ${order.amount} ${order.tokenIn} for about ${figure(this.found.fill.expectedOut, 9)} ${order.tokenOut}.` });
    if (sure) this.large = terms;
    return sure;
  }

  async place(order) {
    try {
      const accepted = await this.placing.place(order);
      say(byId("outcome"), `Accepted: ${order.type} order, sell ${order.amount} ${order.tokenIn} for ${order.tokenOut}.`);
      this.placed(accepted.orderId);
      this.large = null;
      this.clear(order);
    } catch (reason) {
      this.refused = reason.status === 400;
      if (reason instanceof Unanswered) {
        say(byId("outcome"), "No answer; the order may have been accepted. Place it again to find out: unchanged, it cannot be placed twice.");
      } else say(byId("outcome"), `Not placed: ${this.showRefusal(reason)}`);
      firstWrong(this.form)?.focus();
    }
  }

  // The next order is typed anew: a key pressed twice must not be one.
  clear(order) {
    if (JSON.stringify(this.order()) !== JSON.stringify(order)) return;
    this.form.elements.amount.value = "";
    this.estimate();
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

const whole = (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text);
