// What a ticket's fields say, as the API takes it: an exact amount of one token for another, or another for an exact amount.

import { isAbove0, numeral, product, quotient, unit } from "./decimal.js";
import { moment } from "./fields.js";
import { known, limitPrice } from "./sides.js";

export class Terms {
  // `prices(side)` is the price at which the base token is bought or sold now, as decimal text, or null.
  constructor(form, prices) {
    Object.assign(this, { form, prices, market: null });
  }

  ask() {
    return this.prices("buy") || this.prices("sell");
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
    return this.type === "limit" && this.side === "buy" && this.form.elements.unit.value === "base";
  }

  // Whether the amount is what is bought, to the unit.
  get exact() {
    return this.type === "market" && this.form.elements.mode.value === "receive";
  }

  // The token in which the amount is typed.
  get typedIn() {
    const { base, quote } = this.market;
    if (this.exact) return this.side === "buy" ? base : quote;
    return this.converts ? base : this.pays;
  }

  // Names what was typed: the same until something is changed, wherever the price goes.
  get key() {
    return JSON.stringify([this.market?.name, ...new FormData(this.form).entries()]);
  }

  // The smallest unit of what is paid in.
  get unit() {
    return unit(this.pays);
  }

  // In bps; null if it is none.
  get slippage() {
    const typed = this.text("slippageBps");
    return /^\d{1,4}$/.test(typed) ? Number(typed) : null;
  }

  // The price a conversion goes by: that of the limit, or of now.
  get rate() {
    const price = this.type === "limit" ? this.number("limitPrice") : this.ask();
    return price && isAbove0(price) ? price : null;
  }

  // What is paid in, in whole tokens; rounded down, so that no more is spent than was typed.
  get amount() {
    const amount = this.number("amount");
    if (this.exact) return isAbove0(amount) ? this.atMost(this.cost(amount)) : amount;
    if (!this.converts || !isAbove0(amount)) return amount;
    return this.rate ? product(amount, this.rate, unit(this.market.quote)) : "";
  }

  // What an exact amount costs at the price of now, in the token that pays; "" without a price.
  cost(amount) {
    const price = this.prices(this.side) || this.ask();
    if (!price) return "";
    return this.side === "buy" ? product(amount, price, unit(this.market.quote), true) : quotient(amount, price, unit(this.market.base), true);
  }

  // That much and the slippage beyond it.
  atMost(expected) {
    const slippage = this.text("slippageBps") || "50";
    return expected && /^\d{1,4}$/.test(slippage) ? product(expected, `1.${slippage.padStart(4, "0")}`, unit(this.pays), true) : expected;
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
    const order = { type, tokenIn: pair.tokenIn.symbol, tokenOut: type === "sniper" ? symbolOf(this.text("tokenOut")) : pair.tokenOut.symbol };
    if (amount) order.amount = amount;
    if (this.exact && this.number("amount")) order.amountOut = this.number("amount");
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

  // What the button does.
  get offer() {
    const { type, side, market: { base, quote }, exact } = this;
    const amount = this.number("amount");
    if (type === "sniper") return "Place sniper order";
    if (!exact || !isAbove0(amount)) return `${side === "buy" ? "Buy" : "Sell"} ${base.symbol}, ${type} order`;
    return side === "buy" ? `Buy exactly ${amount} ${base.symbol}` : `Sell ${base.symbol} for exactly ${amount} ${quote.symbol}`;
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

// A symbol is found however it is typed; anything else is for the API to judge.
function symbolOf(text) {
  const symbols = [...known.values()].map((one) => one.tokenOut.symbol);
  return symbols.includes(text) ? text : symbols.find((one) => one.toLowerCase() === text.toLowerCase()) || text;
}

const whole = (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text);
