// The order ticket: only the fields that apply, what it would get before it is sent, and errors where they belong.

import * as api from "./api.js";
import { isAbove0, product, quotient, unit } from "./decimal.js";
import { byId, make, mark, say } from "./dom.js";
import { anotherToo, asksOnce, dealOf, despite, slack } from "./doubts.js";
import { emptyRows, estimateRows, estimated, obstacle } from "./estimate.js";
import { clearErrors, firstWrong, sentences, showErrors } from "./fields.js";
import { figure } from "./format.js";
import { Placing, Unanswered } from "./placing.js";
import { known, typed } from "./sides.js";
import { Terms } from "./terms.js";

// Wrong, or beyond a trading limit: only a change of the ticket changes the answer.
const isRefusal = (reason) => reason.status === 400 || reason.status === 422;

const DEBOUNCE_MS = 250;
const AGAIN_MS = 2_000;
// How long an order waits for its estimate before it is placed without one.
const ESTIMATE_MS = 1_500;

export class Ticket {
  // `prices(side)` is the price at which the base token is bought or sold now, as decimal text, or null; `share(token,
  // percent)` so much of what is free of a token; `outcome` the line that says what became of the order.
  constructor({ placed, sided, prices, share, outcome }) {
    this.form = byId("order");
    this.terms = new Terms(this.form, prices);
    Object.assign(this, { placed, sided, prices, share, outcome, found: null });
    this.placing = new Placing(() => outcome.say("No answer; retrying…"));
    this.form.addEventListener("input", (event) => {
      outcome.clear();
      if (this.terms.market) this.edited(event.target);
    });
    this.form.addEventListener("click", (event) => event.target.dataset.set && this.preset(event.target));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.terms.market) this.submit();
    });
    this.recall();
    setInterval(() => !document.hidden && this.estimated && this.estimate(), AGAIN_MS);
  }

  trade(market, side) {
    const another = this.terms.market?.name !== market.name;
    this.terms.market = market;
    if (another) this.form.elements.limitPrice.value = "";
    for (const one of this.form.elements.side) one.disabled = !market[one.value];
    this.form.elements.side.value = side;
    this.edited(this.form);
  }

  get type() {
    return this.terms.type;
  }

  get side() {
    return this.form.elements.side.value;
  }

  // As if the person had chosen them; the field that comes next gets the focus.
  choose(name, value, next) {
    const one = this.form.querySelector(`input[name=${name}][value=${value}]`);
    if (!one.checked && !one.disabled) one.click();
    this.form.elements[next].focus();
  }

  // Another token to type the amount in: what was typed stays worth the same.
  convert() {
    const { market, typedIn } = this.terms;
    const unit = typedIn === market.base ? "base" : "quote";
    if (this.unit && this.unit !== unit) this.form.elements.amount.value = this.terms.converted(unit);
    this.unit = unit;
  }

  preset({ dataset: { set, value } }) {
    const input = this.form.elements[set];
    input.value = set === "limitPrice" ? this.distant(value) : set === "amount" ? this.part(value) : value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // So many percent of what may be spent, in the token that the amount is typed in.
  part(percent) {
    const { pays, converts, rate, market } = this.terms;
    const units = this.share(pays, percent);
    if (units === null || (converts && !rate)) return this.terms.text("amount");
    return converts ? quotient(units, rate, unit(market.base)) : units;
  }

  // A limit price so many percent on the better side of the price now, and no worse than that.
  distant(percent) {
    const { side, market } = this.terms;
    const now = this.prices(side);
    const tick = market.sell?.tick || unit(market.quote);
    if (!now) return "";
    return product(now, side === "buy" ? `0.${100 - percent}` : `1.0${percent}`, tick, side === "sell");
  }

  // The tokens that can be bought with what the ticket pays.
  offerTokens() {
    const offered = [...known.values()].filter((one) => one.tokenIn.symbol === this.terms.pays.symbol).map((one) => one.tokenOut);
    const key = offered.map((one) => one.mint).join();
    if (key === this.offered) return;
    this.offered = key;
    byId("tokens").replaceChildren(...offered.map(({ symbol, mint }) => make("option", { value: symbol }, mint)));
  }

  // Shows the fields this type has, in the words of its tokens.
  fit() {
    const { type } = this;
    const { market, typedIn, pays, side, exact } = this.terms;
    const mode = exact ? "receive" : "spend";
    for (const one of this.form.querySelectorAll("[data-for]")) {
      const waits = one.dataset.when ? this.form.elements.timeInForce.value === one.dataset.when : true;
      one.hidden = !one.dataset.for.split(" ").includes(type) || !waits || (one.dataset.side ?? side) !== side || (one.dataset.mode ?? mode) !== mode;
    }
    const life = this.form.elements.timeInForce;
    if (type === "sniper" && life.value === "ioc") life.value = "gtc";
    mark(this.form, "data-type", type);
    mark(this.form, "data-side", type === "sniper" ? "" : side);
    const [base, quote] = [market.base.symbol, market.quote.symbol];
    say(byId("sold"), typedIn.symbol);
    say(byId("verb"), exact ? "Receive exactly" : this.terms.converts ? "Buy about" : pays.symbol === base && type !== "sniper" ? "Sell" : "Spend");
    for (const [id, text] of [["unit-quote", quote], ["unit-base", base], ["priced", `${quote} per ${base}`], ["capped", pays.symbol]]) say(byId(id), text);
    say(byId("bound"), side === "buy" ? "or less" : "or more");
    for (const one of this.form.querySelectorAll("[data-set=limitPrice]")) say(one, `${side === "buy" ? "−" : "+"}${one.dataset.value} %`);
    say(byId("slippage-is"), this.terms.slippage === null ? "(100 = 1 %)" : `= ${this.terms.slippage / 100} %`);
    for (const one of this.form.querySelectorAll("[data-set=slippageBps]")) mark(one, "aria-pressed", String(one.dataset.value === this.terms.text("slippageBps")));
    if (!this.sending) say(byId("place"), this.terms.offer);
    this.offerTokens();
    this.note();
  }

  // What is sent, where it is not what was typed.
  note() {
    const { converts, amount, rate, market, side, type, pair } = this.terms;
    const price = this.terms.number("limitPrice");
    const said = converts && amount && rate ? `Spends ${amount} ${market.quote.symbol}, for about ${this.terms.number("amount")} ${market.base.symbol} at ${figure(rate)}.` : "";
    say(byId("amount-note"), said);
    const inverted = type === "limit" && side === "buy" && isAbove0(price) && pair;
    const sent = inverted && quotient("1", price, pair.tick, true);
    say(byId("limitPrice-note"), inverted ? `Sent as ${sent} ${market.base.symbol} per ${market.quote.symbol}, rounded in your favour: at most ${typed("buy", sent)}.` : "");
  }

  edited(field) {
    if (field.name === "type" && field.value !== "market") this.form.elements.mode.value = "spend";
    this.convert();
    if (["type", "side", "mode"].includes(field.name)) {
      clearErrors(this.form);
      this.blank();
    }
    if (field.name === "side") this.sided(this.terms.pair.pair);
    field.removeAttribute?.("aria-invalid");
    this.fit();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.estimate(), DEBOUNCE_MS);
  }

  async estimate() {
    this.asking?.abort();
    if (!this.terms.market) return;
    const { key } = this.terms;
    const order = this.terms.order();
    const lacking = this.terms.lacking(order);
    this.note();
    if (lacking) {
      this.blank(lacking, true);
      if (!this.refused) clearErrors(this.form);
      return;
    }
    const asking = new AbortController();
    this.asking = asking;
    try {
      const found = await estimated(order, this.terms, asking.signal);
      if (asking.signal.aborted) return;
      clearErrors(this.form);
      this.refused = false;
      this.estimated = true;
      this.paint(key, order, found);
    } catch (reason) {
      if (asking.signal.aborted) return;
      if (isRefusal(reason)) {
        // Asking again would not change the answer; typing does.
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
    byId("estimate").replaceChildren(...emptyRows(this.terms));
    this.explain(text, blocks, true);
  }

  paint(key, order, found) {
    this.found = { key, ...found };
    byId("estimate").replaceChildren(...estimateRows(found, this.type === "sniper" ? "" : this.terms.side));
    const problem = obstacle(found, order.timeInForce);
    this.explain([problem?.message, problem?.blocks ? "" : slack(order)].filter(Boolean).join(" "), problem?.blocks);
  }

  // The reason stands at the button, and is its description.
  explain(text, blocks = false, hint = false) {
    this.blocked = blocks;
    say(byId("problem"), text);
    byId("problem").classList.toggle("hint", hint);
    mark(byId("place"), "aria-disabled", String(blocks));
  }

  async submit() {
    if (this.sending) return;
    const { key } = this.terms;
    const order = this.terms.order();
    if (this.terms.lacking(order)) return void this.estimate();
    clearErrors(this.form);
    this.busy(true);
    await this.known(key);
    // An exact amount costs no more than what is shown.
    if (order.amountOut && this.found?.key === key && this.found.fill) order.amount = this.found.fill.maximumIn;
    if (this.blocked) firstWrong(this.form)?.focus();
    else if (await this.confirmed(key, order)) await this.place(key, order);
    this.busy(false);
  }

  // Waits, not for long, until what this very order would get is known.
  async known(key) {
    if (this.found?.key === key) return;
    clearTimeout(this.timer);
    this.blocked = false;
    await Promise.race([this.estimate(), new Promise((go) => setTimeout(go, ESTIMATE_MS))]);
    this.asking?.abort();
  }

  // Asks before what is hard to take back: another order while one may have been accepted, and a large or loose one.
  async confirmed(key, order) {
    if (this.placing.differs(key) && !(await anotherToo())) return false;
    const doubts = despite(order, this.found?.key === key ? this.found : null);
    if (!doubts.length || this.agreed === key) return true;
    const sure = await asksOnce(order, doubts);
    if (sure) this.agreed = key;
    return sure;
  }

  async place(key, order) {
    try {
      const accepted = await this.placing.place(key, order);
      this.outcome.accepted(`${order.type} order, ${dealOf(order)}.`, accepted.orderId);
      this.placed(accepted.orderId);
      this.agreed = null;
      this.clear(key);
    } catch (reason) {
      this.refused = isRefusal(reason);
      if (reason instanceof Unanswered) {
        this.outcome.say("No answer; the order may have been accepted. Place it again to find out: unchanged, it cannot be placed twice.");
      } else if (this.refused) {
        this.showRefusal(reason);
        this.outcome.say("Not placed.");
      } else this.outcome.say(`Not placed: ${reason.message}.`);
      firstWrong(this.form)?.focus();
    }
  }

  // After a reload: says what became of an order that had no answer yet.
  async recall() {
    const { asked, order } = await this.placing.left();
    if (!asked || this.sending) return;
    if (order) this.placed(order.orderId);
    this.outcome.say(order ? `Accepted before the reload: ${order.type} order, ${dealOf(order)}.` : "The order sent before the reload was not accepted.", order?.orderId);
  }

  // The next order is typed anew: a key pressed twice must not be one.
  clear(key) {
    if (this.terms.key !== key) return;
    this.form.elements.amount.value = "";
    this.estimate();
  }

  // At its field, and at the button, which places nothing until something is changed.
  showRefusal(reason) {
    this.blank();
    // The amount that is typed may be either; what is sent beside an exact one is not typed.
    const typed = reason.fields.filter((one) => one.field === "amountOut").map((one) => ({ ...one, field: "amount" }));
    const fields = typed.length ? [...typed, ...reason.fields.filter((one) => !one.field.startsWith("amount"))] : reason.fields;
    showErrors(this.form, fields);
    this.explain(sentences(fields) || `${reason.message}.`, true);
  }

  busy(yes) {
    this.sending = yes;
    byId("place").setAttribute("aria-busy", String(yes));
    if (yes) say(byId("place"), "Placing…");
    else this.fit();
  }
}
