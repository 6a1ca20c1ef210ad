// What a person is warned of and asked about before an order is placed.

import { bps, exactly, figure } from "./format.js";
import { agreed } from "./question.js";

// What asks for confirmation: a price impact twice the default slippage, that no trade of a usual size has,
const LARGE_BPS = 100;
// and a slippage beyond what a market in motion needs.
const LOOSE_BPS = 300;

// What an order trades, in words.
export const dealOf = ({ amount, amountOut, tokenIn, tokenOut }) => (amountOut
  ? `exactly ${exactly(amountOut)} ${tokenOut} for at most ${exactly(amount)} ${tokenIn}` : `${exactly(amount)} ${tokenIn} for ${tokenOut}`);

// What a large slippage allows; "" for a usual one.
export function slack({ slippageBps, amountOut, limitPrice, maxPrice }) {
  if (!(slippageBps >= LOOSE_BPS)) return "";
  const most = `${slippageBps / 100} %`;
  if (amountOut) return `May cost up to ${most} more than quoted.`;
  return `May fill up to ${most} below the quote${limitPrice || maxPrice ? ", though not beyond its price" : ""}.`;
}

// What speaks against placing an order without a question; `found` is its estimate, or null.
export function despite(order, found) {
  const isLarge = Number(found?.fill?.impactBps) >= LARGE_BPS;
  const trade = order.amountOut || !found?.fill ? dealOf(order) : `${exactly(order.amount)} ${order.tokenIn} for about ${figure(found.fill.expectedOut, 9)} ${order.tokenOut}`;
  return [
    isLarge && { title: "Place this large order?", text: `Its size moves the price by ${bps(found.fill.impactBps)} against you: ${trade}.` },
    slack(order) && { title: `Place with a slippage of ${order.slippageBps / 100} %?`, text: `${slack(order)} The order: ${trade}.` },
  ].filter(Boolean);
}

export const asksOnce = (order, [first, ...others]) =>
  agreed({ title: first.title, yes: `Place ${order.type} order`, no: "Go back", text: [first, ...others].map((one) => one.text).join(" ") });

export const anotherToo = () => agreed({ title: "Place another order?", yes: "Place this one as well", no: "Go back",
  text: "There was no answer to the order before, so it may have been accepted. The list below shows it if it was. This ticket has changed since and would be a second order." });
