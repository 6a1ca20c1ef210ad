// An order as its events tell it.  Events count 1, 2, 3 ...: one already told changes nothing, and none is told early,
// so a row can show neither a wrong stage nor one twice, however often the line breaks.  What the engine takes back goes
// as if it had never been told, except that the story says so.

import { capital, cost, exactly, figure } from "./format.js";
import { perBase, sideOf } from "./sides.js";

export const FINAL = new Set(["confirmed", "failed", "cancelled", "expired"]);
const WAITING = ["pending", "triggered", "routing", "building", "submitted", "confirmed"];
const MARKET = WAITING.filter((stage) => stage !== "triggered");

export const LABELS = {
  pending: "pending", triggered: "triggered", routing: "routing", building: "building", submitted: "submitted",
  confirmed: "confirmed", failed: "failed", cancelled: "cancelled", expired: "expired",
};

export function begin(id) {
  return { id, seq: 0, epoch: 0, status: null, events: [], rewinds: [], type: null, pair: null, terms: {}, venue: null, why: null, trouble: null, got: null,
    problem: null };
}

// Takes a message: "new" when it changes the order, "old", or "gap" when the engine must be asked what belongs there.
export function tell(order, message) {
  if (message.rewoundTo) return rewind(order, message);
  // Epochs never fall along one history: what is here up to this event must have been replaced.
  if (message.seq <= order.seq) return message.epoch > order.epoch ? "gap" : "old";
  if (message.seq !== order.seq + 1) return "gap";
  order.events.push(message);
  order.seq = message.seq;
  order.epoch = message.epoch || 0;
  order.status = message.status;
  note(order, message);
  return "new";
}

// Takes back the events past one, if there are any.
function rewind(order, message) {
  const before = order.seq;
  if (message.rewoundTo < before) {
    const kept = order.events.slice(0, message.rewoundTo);
    const rewinds = [...order.rewinds.filter((one) => one.rewoundTo < message.rewoundTo), message];
    Object.assign(order, begin(order.id), { rewinds });
    for (const event of kept) tell(order, event);
    order.trouble = `rewound to step ${order.seq}: ${message.reason}`;
  }
  order.epoch = message.epoch;
  return order.seq < before ? "new" : "old";
}

// What the story tells, in its order: each event, and behind one to which the order was taken back, that it was.
export function steps(order) {
  return order.events.flatMap((event) => [event, ...order.rewinds.filter((one) => one.rewoundTo === event.seq)]);
}

// Names a step for good.
export const keyOf = ({ epoch = 0, seq, rewoundTo }) => (rewoundTo ? `${epoch} back to ${rewoundTo}` : `${epoch} ${seq}`);

function note(order, event) {
  if (event.seq === 1) {
    order.type = event.type;
    order.pair = event.pair;
    order.terms = { amountIn: event.amountIn, amountOut: event.amountOut, slippageBps: event.slippageBps, limitPrice: event.limitPrice,
      maxPrice: event.maxPrice, expiresAt: event.expiresAt, timeInForce: event.timeInForce, trigger: event.trigger };
  }
  if (event.kind === "amended") for (const [name, change] of Object.entries(event.amended)) order.terms[name] = change.to;
  if (event.venue) order.venue = event.venue;
  if (event.kind === "routing") order.why = event.reason;
  if (event.kind === "retry") order.why = `tries again: ${event.retry.message}`;
  if (event.kind === "returned") {
    order.venue = null;
    order.why = `rests again: ${event.returned.message}`;
  }
  if (event.status === "confirmed") order.got = event;
  if (event.status === "failed") order.problem = event.message;
  if (event.status === "cancelled" || event.status === "expired") order.problem = event.reason;
}

export const isOver = (order) => FINAL.has(order.status);
export const isWaiting = (order) => order.status === "pending" && order.type !== "market";
export const isSniping = (order) => order.type === "sniper" && isWaiting(order);
export const isMoving = (order) => order.seq > 0 && !isOver(order) && !isWaiting(order);
export const stagesOf = (order) => (order.type === "market" ? MARKET : WAITING);

// The stages with the time spent in each: [{stage, state, ms}]; state is done, now, left, or the way it ended.
export function line(order, now) {
  const stages = stagesOf(order);
  const spent = new Map();
  let current = null;
  let since = 0;
  for (const event of order.events) {
    const at = Date.parse(event.at);
    if (current !== null) spent.set(current, (spent.get(current) || 0) + at - since);
    const index = stages.indexOf(event.status);
    // Back to an earlier stage: what came after it counts anew.
    if (index >= 0) for (const stage of stages.slice(index + 1)) spent.delete(stage);
    if (index >= 0) current = event.status;
    else break;
    since = at;
  }
  const reached = stages.indexOf(current);
  const over = isOver(order);
  return stages.map((stage, index) => {
    if (index > reached) return { stage, state: over ? "never" : "left", ms: null };
    if (stage === "confirmed") return { stage, state: "done", ms: null };
    if (index === reached && over) return { stage, state: order.status, ms: spent.get(stage) ?? null };
    if (index === reached) return { stage, state: "now", ms: (spent.get(stage) || 0) + now - since };
    return { stage, state: "done", ms: spent.get(stage) ?? null };
  });
}

// How long it took in all, in ms.
export const elapsed = ({ events }) => Date.parse(events.at(-1).at) - Date.parse(events[0].at);

// The signed transactions, as the events tell of them.
export function attempts(order) {
  const found = [];
  let expected = null;
  for (const event of order.events) {
    const open = found[found.length - 1];
    if (event.status === "building") expected = event;
    if (event.status === "submitted") {
      found.push({ number: event.attempt, venue: event.venue, txHash: event.txHash, height: event.lastValidBlockHeight,
        expectedOut: expected?.expectedOut, minimumOut: expected?.minimumOut, outcome: "open" });
    } else if (open?.outcome === "open") {
      if (event.status === "confirmed") open.outcome = `landed in slot ${event.slot}`;
      if (event.kind === "retry") open.outcome = event.retry.message;
      if (event.kind === "returned") open.outcome = event.returned.message;
      if (event.status === "failed") open.outcome = event.message;
    }
  }
  return found;
}

// A reason, as whoever reads it would say it.
const worded = (order, reason) => (order?.isYours ? reason.replace(/(cancelled) by the client/i, "$1 by you") : reason);

// Why an order ended without a fill; null if it did not.
export const problemOf = (order) => order.problem && worded(order, order.problem);

// How an order ended, as its owner would say it.
export function ending(order) {
  const kind = capital(order.type);
  const why = problemOf(order);
  if (!order.got) return `${kind} order ${why.startsWith(`${order.status} by`) ? "" : `${order.status}: `}${why}.`;
  const { amountOut, executedPrice, venue } = order.got;
  const { side, base, quote } = sideOf(order.pair);
  const [given, taken] = [figure(order.got.amountIn, 9), figure(amountOut, 9)];
  const deal = side === "sell" ? `Sold ${given} ${base} for ${taken} ${quote}` : `Bought ${taken} ${base} for ${given} ${quote}`;
  return `${deal} at ${figure(perBase(side, executedPrice))}, ${venue}`;
}

const against = (bps) => (Number(bps) === 0 ? "as quoted" : `${cost(bps)} than quoted`);

// What the market shows of a condition of a sniper order, and what that has to be.
export function valued({ kind, value, atLeast, windowS }) {
  if (kind === "launch") return value === "1" ? "1 pool" : `${value} pools`;
  return `${figure(value)} of ${figure(atLeast)} USD${windowS ? ` in ${windowS} s` : ""}`;
}

// What happened, in a sentence or two.
export function sentence(event, order) {
  if (event.rewoundTo) {
    return `The engine lost part of this order's history and restored it: ${event.reason}. Steps after ${event.rewoundTo} are withdrawn; the order continues from there.`;
  }
  const { side, base, quote } = sideOf(order.pair);
  const [sold, bought] = side === "buy" ? [quote, base] : [base, quote];
  const said = SENTENCES[event.kind] || (() => "");
  return worded(order, said(event, { sold, bought, unit: `${quote} per ${base}`, priced: (price) => figure(perBase(side, price), 9) }));
}

const SENTENCES = {
  pending: () => "Accepted and committed.",
  amended: ({ amended }, { priced }) => {
    const shown = (name, value) => (value === null || value === undefined ? "none" : name === "limitPrice" ? priced(value) : value);
    return `Amended: ${Object.entries(amended).map(([name, one]) => `${name} ${shown(name, one.from)} → ${shown(name, one.to)}`).join(", ")}.`;
  },
  returned: ({ returned }) => `Rests again: ${returned.message}.${returned.inMs ? ` It can fire again in ${returned.inMs} ms.` : ""}`,
  triggered: ({ trigger = {}, gates = [] }, { priced }) => {
    if (trigger.kind === "price") {
      return `${trigger.venue} at ${priced(trigger.price)} reached ${priced(trigger.limitPrice)}, on a quote ${trigger.ageMs} ms old.`;
    }
    const seen = (trigger.conditions || []).map((one) => `${one.kind} ${one.value}`).join(", ");
    const refused = gates.filter((check) => check.verdict !== "pass");
    return `Market event: ${seen}. ${refused.length ? `Refused by ${refused.map((check) => check.gate).join(", ")}.` : `All ${gates.length} token checks passed.`}`;
  },
  routing: (event) => `${event.reason}.`,
  retry: ({ retry }) => `The try failed: ${retry.message}. Next try in ${retry.inMs} ms.`,
  building: (event, { sold, bought }) => (event.maximumIn
    ? `Expects to pay ${exactly(event.expectedIn)} ${sold} for exactly ${exactly(event.expectedOut)} ${bought}, accepts no more than ${exactly(event.maximumIn)} ${sold}.`
    : `Expects ${exactly(event.expectedOut)} ${bought}, accepts no less than ${exactly(event.minimumOut)} ${bought}.`),
  submitted: (event) => `Sent; it can land up to block height ${event.lastValidBlockHeight}.`,
  confirmed: ({ amountOut, executedPrice, slippageBps, fees }, { bought, unit, priced }) =>
    `Got ${exactly(amountOut)} ${bought} at ${priced(executedPrice)} ${unit}, ${against(slippageBps)}. Venue fee ${exactly(fees.venueFee)} ${fees.venueFeeToken}; network fee ${exactly(fees.networkFeeLamports)} lamports, paid by the engine.`,
  failed: (event) => `${capital(event.message)} (${event.code}). ${event.replayMayHelp ? "A replay may help." : "A replay would not help."}`,
  cancelled: (event) => `${capital(event.reason)}.`,
  expired: (event) => `${capital(event.reason)}.`,
};
