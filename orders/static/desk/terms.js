// What a ticket's fields say, as the API takes it: an exact amount of one token for another.

import { isAbove0, numeral, product, quotient, unit } from "./decimal.js";
import { moment } from "./fields.js";
import { limitPrice } from "./sides.js";

export class Terms {
  // `ask()` is the price at which the base token is bought now, as decimal text, or null.
  constructor(form, ask) {
    Object.assign(this, { form, ask, market: null });
  }

  text(name) {
    return this.form.elements[name].value.trim();
  }

  number(name) {
    return numeral(this.text(name));
  }

  get type() {
    return this.form.elements.type.value;
  }

  get side() {
    return this.type === "sniper" ? "buy" : this.form.elements.side.value;
  }

  get pair() {
    return this.market[this.side];
  }

  // The token that pays; a sniper order's is the one that new pools are made with.
  get pays() {
    const { base, quote } = this.market;
    if (this.type === "sniper") return base.symbol === "SOL" ? base : quote;
    return this.side === "buy" ? quote : base;
  }

  // Whether the amount is typed in the token that is bought, and has to be converted.
  get converts() {
    return this.type !== "sniper" && this.side === "buy" && this.form.elements.unit.value === "base";
  }

  // Names what was typed: the same until something is changed, wherever the price goes.
  get key() {
    return JSON.stringify([this.market?.name, ...new FormData(this.form).entries()]);
  }

  // The price a conversion goes by: that of the limit, or of now.
  get rate() {
    const price = this.type === "limit" ? this.number("limitPrice") : this.ask();
    return price && isAbove0(price) ? price : null;
  }

  // What is paid in, in whole tokens; rounded down, so that no more is spent than was typed.
  get amount() {
    const amount = this.number("amount");
    if (!this.converts || !isAbove0(amount)) return amount;
    return this.rate ? product(amount, this.rate, unit(this.market.quote)) : "";
  }

  // The typed amount in the other token, at the price of now.
  converted(into) {
    const [amount, ask] = [this.number("amount"), this.ask()];
    if (!isAbove0(amount) || !ask) return amount;
    return into === "quote" ? product(amount, ask, unit(this.market.quote)) : quotient(amount, ask, unit(this.market.base));
  }

  // What is blank is left out, and the API says what is missing.
  order() {
    const { type, market, amount } = this;
    const pair = type === "sniper" ? { tokenIn: this.pays } : this.pair || { tokenIn: this.pays, tokenOut: this.side === "buy" ? market.base : market.quote };
    const order = { type, tokenIn: pair.tokenIn.symbol, tokenOut: type === "sniper" ? this.text("tokenOut") : pair.tokenOut.symbol };
    if (amount) order.amount = amount;
    if (this.text("slippageBps")) order.slippageBps = whole(this.text("slippageBps"));
    if (type === "market") return order;
    order.timeInForce = this.text("timeInForce");
    if (order.timeInForce === "gtd" && this.text("expiresAt")) order.expiresAt = moment(this.text("expiresAt"));
    return Object.assign(order, type === "limit" ? this.limit() : this.sniper());
  }

  limit() {
    const price = this.number("limitPrice");
    return price ? { limitPrice: limitPrice(this, price) } : {};
  }

  sniper() {
    const trigger = this.trigger();
    const price = this.number("maxPrice");
    return { ...(trigger.length && { trigger }), ...(price && { maxPrice: price }), ...(this.form.elements.allowUnknown.checked && { allowUnknown: true }) };
  }

  trigger() {
    const { launch, liquidity, volume } = this.form.elements;
    const found = [];
    if (launch.checked) found.push({ kind: "launch" });
    if (liquidity.checked) found.push({ kind: "liquidity", atLeast: this.number("liquidityAtLeast") });
    if (volume.checked) found.push({ kind: "volume", atLeast: this.number("volumeAtLeast"), windowS: whole(this.text("volumeWindow")) });
    return found;
  }

  // What has not been typed yet, which is a hint and no error.
  lacking(order) {
    if (!this.text("amount")) return "Enter an amount.";
    if (order.type === "limit" && !order.limitPrice) return "Enter a limit price.";
    if (!order.amount) return "No price to convert the amount at; enter what to spend.";
    if (!order.tokenOut) return "Name the token to buy.";
    if (order.type === "sniper" && !order.trigger) return "Choose what the order waits for.";
    return order.timeInForce === "gtd" && !order.expiresAt ? "Enter until when it waits." : "";
  }
}

const whole = (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text);
