// A pair as traders see it: a base token that is bought or sold, priced in a quote token, in whichever direction it is named.

const QUOTES = ["USDC", "USDT", "SOL"];

// "SOL-USDC" sells SOL for USDC; "USDC-SOL" buys SOL with USDC.
export function sideOf(name) {
  const [tokenIn, tokenOut] = name.split("-");
  const quote = QUOTES.find((one) => one === tokenIn || one === tokenOut) || tokenOut;
  return quote === tokenIn ? { side: "buy", base: tokenOut, quote } : { side: "sell", base: tokenIn, quote };
}

// A price of a direction, tokenOut per tokenIn, as quote per base.  To be looked at, not to be sent.
export const perBase = (side, text) => (text === null || text === undefined ? text : side === "buy" ? 1 / Number(text) : Number(text));
