// Pairs as traders see them: a base token that is bought or sold, priced in a quote token.
//
// The engine names each direction: "SOL-USDC" sells SOL for USDC, "USDC-SOL" buys SOL with USDC.  Both are one market.

import { isAbove0, quotient } from "./decimal.js";

const QUOTES = ["USDC", "USDT", "SOL"];
// Finer than any price that is shown.
export const FINE = "0.000000000000000001";

export const known = new Map();

export function sideOf(name) {
  const [tokenIn, tokenOut] = name.split("-");
  const quote = QUOTES.find((one) => one === tokenIn || one === tokenOut) || tokenOut;
  return quote === tokenIn ? { side: "buy", base: tokenOut, quote } : { side: "sell", base: tokenIn, quote };
}

export function marketName(pair) {
  const { base, quote } = sideOf(pair);
  return `${base}-${quote}`;
}

// A market: its tokens, and for each side the pair of the API that trades it, if there is one.
export function marketOf(name) {
  const { base, quote } = sideOf(name);
  const [sell, buy] = [known.get(`${base}-${quote}`), known.get(`${quote}-${base}`)];
  if (!sell && !buy) return null;
  return { name: `${base}-${quote}`, sell, buy, base: sell?.tokenIn || buy.tokenOut, quote: sell?.tokenOut || buy.tokenIn };
}

export const markets = () => [...new Set([...known.keys()].map(marketName))].sort();

// A price of a direction, tokenOut per tokenIn, as quote per base.  To be looked at, not to be sent.
export const perBase = (side, text) => (text === null || text === undefined ? text : side === "buy" ? 1 / Number(text) : Number(text));

// The same, exact enough to be typed again.
export const typed = (side, text) => (side === "buy" ? digits(quotient("1", text, FINE)) : text);

// A price in quote per base as the limit price of an order: nobody pays more, or gets less, than was typed.
export const limitPrice = ({ side, pair }, text) => (side === "buy" && isAbove0(text) ? quotient("1", text, pair.tick, true) : text);

// Nine significant digits, cut off.
function digits(text) {
  const [whole, part = ""] = text.split(".");
  const led = whole === "0" ? part.length - part.replace(/^0+/, "").length : -whole.length;
  const kept = part.slice(0, Math.max(0, 9 + led)).replace(/0+$/, "");
  return kept ? `${whole}.${kept}` : whole;
}
