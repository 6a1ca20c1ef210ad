// What an order would get now, in rows, and whether that rules it out.

import * as api from "./api.js";
import { product } from "./decimal.js";
import { make } from "./dom.js";
import { bps, duration, figure } from "./format.js";
import { perBase } from "./sides.js";
import { valued } from "./story.js";

const CHECKS = { mintAuthority: "Token check: mint", freezeAuthority: "Token check: freeze", liquidity: "Token check: pools", topHolder: "Token check: holder" };
// How much more than the price of now an exact amount may cost while it is estimated: the price impact is not known before.
const ROOM = "1.25";

const empty = (exact) => [["Venue", "–"], ["Price", "–"], ["Fee", "–"], [exact ? "You spend about" : "You get about", "–"], [exact ? "At most" : "At least", "–"], ["Impact", "–"]];

// What this order would get.  One for an exact amount is asked for with room, and with what it costs if something stands in its way.
export async function estimated(order, terms, signal) {
  if (!order.amountOut) return api.estimate(order, signal);
  const found = await api.estimate({ ...order, amount: product(order.amount, ROOM, terms.unit, true) }, signal);
  return found.fill && found.problem ? api.estimate({ ...order, amount: terms.atMost(found.fill.expectedIn) }, signal) : found;
}

function fillRows({ fill, limit, tokenIn, tokenOut, amountOut }, side) {
  // What a limit order that still waits will get is more than what there is to be had now.
  const waits = limit && limit.awayBps !== "0";
  return [
    ["Venue", `${fill.venue}, quote ${duration(fill.ageMs)} old`, fill.fresh ? "" : "old", fill.reason],
    ["Price", figure(perBase(side, fill.expectedPrice))],
    ["Fee", `${figure(fill.fee)} ${tokenIn} (${fill.feeBps} bps)`],
    ...(amountOut ? [["You spend about", `${figure(fill.expectedIn, 9)} ${tokenIn}`, "strong"], ["At most", `${figure(fill.maximumIn, 9)} ${tokenIn}`]]
      : [[waits ? "Now it would be" : "You get about", `${figure(fill.expectedOut, 9)} ${tokenOut}`, "strong"], ["At least", `${figure(fill.minimumOut, 9)} ${tokenOut}`]]),
    ["Impact", bps(fill.impactBps)],
  ];
}

function limitRows({ limit }, side) {
  if (!limit) return [];
  const there = limit.awayBps === "0";
  return [["Best now", limit.best ? `${figure(perBase(side, limit.best))}, ${there ? "reached" : `${figure(limit.awayBps)} bps away`}` : "unknown", there ? "good" : ""]];
}

function sniperRows({ sniper }) {
  if (!sniper) return [];
  return [
    ["Token", sniper.listed ? "listed" : "not listed yet"],
    ...sniper.conditions.map((one) => [one.kind, valued(one), one.met ? "good" : "", one.met ? "met" : "not met"]),
    ...sniper.gates.map((one) => [CHECKS[one.gate] || one.gate, `${one.verdict === "pass" ? "✓" : "✗"} ${one.reason}`, one.verdict === "pass" ? "good" : "old"]),
  ];
}

const rowsOf = (rows) => rows.map(([name, value, kind, title]) => make("div", { class: kind || null, title }, make("dt", {}, name), make("dd", {}, value)));

export const estimateRows = (found, side) => rowsOf([...(found.fill ? fillRows(found, side) : empty(found.amountOut)), ...limitRows(found, side), ...sniperRows(found)]);
export const emptyRows = ({ type, exact }) => rowsOf(type === "sniper" ? [] : empty(exact));

// How the token checks would end a sniper order if it fired now; "" if they would pass.
function checked({ gates }) {
  const against = gates.filter((one) => one.verdict !== "pass");
  if (!against.length) return "";
  const why = against.every((one) => one.value === null) ? "token facts unknown" : against.map((one) => `${CHECKS[one.gate] || one.gate} ${one.reason}`).join("; ");
  return `As things are it would be refused when it fires: ${why}.`;
}

// What stands in the way of this order, if it is to be said; `blocks` when it would be refused or could only fail.
export function obstacle({ type, problem, sniper }, timeInForce) {
  const refused = sniper ? checked(sniper) : "";
  if (!problem || (type === "sniper" && problem.code === "no_quote")) return refused ? { message: refused, blocks: false } : null;
  const { code, message } = problem;
  // What rests can wait for a quote; what a sniper order waits for may bring the liquidity it lacks now.
  const waits = type === "sniper" || (type === "limit" && timeInForce !== "ioc" && code === "no_quote");
  const isRefused = ["paused", "reducing", "insufficient_balance"].includes(code) || code.startsWith("rejected_");
  return { message: `${message}.`, blocks: isRefused || !waits };
}
