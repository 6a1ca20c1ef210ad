// An order as its events tell it.  Events count 1, 2, 3 ...: one already told changes nothing, and none is told early,
// so a row can show neither a wrong stage nor one twice, however often the line breaks.

export const FINAL = new Set(["confirmed", "failed", "cancelled", "expired"]);
const WAITING = ["pending", "triggered", "routing", "building", "submitted", "confirmed"];
const MARKET = WAITING.filter((stage) => stage !== "triggered");

export const LABELS = {
  pending: "pending", triggered: "triggered", routing: "routing", building: "building", submitted: "submitted",
  confirmed: "confirmed", failed: "failed", cancelled: "cancelled", expired: "expired",
};

export function begin(id) {
  return { id, seq: 0, status: null, events: [], type: null, pair: null, terms: {}, venue: null, why: null, got: null, problem: null };
}

// Adds an event: "new", "old", or "gap" when some before it are missing.
export function tell(order, event) {
  if (event.seq <= order.seq) return "old";
  if (event.seq !== order.seq + 1) return "gap";
  order.events.push(event);
  order.seq = event.seq;
  order.status = event.status;
  note(order, event);
  return "new";
}

function note(order, event) {
  if (event.seq === 1) {
    order.type = event.type;
    order.pair = event.pair;
    order.terms = { amountIn: event.amountIn, slippageBps: event.slippageBps, limitPrice: event.limitPrice,
      maxPrice: event.maxPrice, expiresAt: event.expiresAt, timeInForce: event.timeInForce, trigger: event.trigger };
  }
  for (const [name, change] of Object.entries(event.amended || {})) order.terms[name] = change.to;
  if (event.venue) order.venue = event.venue;
  if (event.status === "routing") order.why = event.retry ? `again: ${event.retry.message}` : event.reason;
  if (event.returned) {
    order.venue = null;
    order.why = `rests again: ${event.returned.message}`;
  }
  if (event.status === "confirmed") order.got = event;
  if (event.status === "failed") order.problem = event.message;
  if (event.status === "cancelled" || event.status === "expired") order.problem = event.reason;
}

export const isOver = (order) => FINAL.has(order.status);
export const isWaiting = (order) => order.status === "pending" && order.type !== "market";
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

// How long it took, or has taken, since it last began to move.
export function elapsed(order, now) {
  if (!order.events.length) return null;
  const last = order.events[order.events.length - 1];
  return (isOver(order) ? Date.parse(last.at) : now) - Date.parse(order.events[0].at);
}

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
      if (event.retry) open.outcome = event.retry.message;
      if (event.returned) open.outcome = event.returned.message;
      if (event.status === "failed") open.outcome = event.message;
    }
  }
  return found;
}

// Slippage counts what is lacking; less than none is a gain.
function against(bps) {
  if (Number(bps) === 0) return "as quoted";
  return bps.startsWith("-") ? `${bps.slice(1)} bps better than the quote` : `${bps} bps below the quote`;
}

// What happened, in one sentence.
export function sentence(event) {
  if (event.amended) {
    return `Amended: ${Object.entries(event.amended).map(([name, one]) => `${name} ${one.from ?? "none"} → ${one.to ?? "none"}`).join(", ")}.`;
  }
  if (event.returned) return `Rests again: ${event.returned.message}.${event.returned.inMs ? ` Not before ${event.returned.inMs} ms.` : ""}`;
  if (event.retry) return `The try failed: ${event.retry.message}. Again in ${event.retry.inMs} ms.`;
  return (SENTENCES[event.status] || (() => ""))(event);
}

const SENTENCES = {
  pending: () => "Accepted and committed.",
  triggered: ({ trigger = {}, gates = [] }) => {
    if (trigger.kind === "price") {
      return `${trigger.venue} at ${trigger.price} reached ${trigger.limitPrice}, on a quote ${trigger.ageMs} ms old.`;
    }
    const seen = (trigger.conditions || []).map((one) => `${one.kind} ${one.value}`).join(", ");
    const refused = gates.filter((gate) => gate.verdict !== "pass");
    return `The market showed ${seen}. ${refused.length ? `Refused by ${refused.map((gate) => gate.gate).join(", ")}.` : `All ${gates.length} gates passed.`}`;
  },
  routing: (event) => `${event.reason}.`,
  building: (event) => `Expects ${event.expectedOut}, accepts no less than ${event.minimumOut}.`,
  submitted: (event) => `Sent; it can land up to block height ${event.lastValidBlockHeight}.`,
  confirmed: (event) =>
    `Got ${event.amountOut} at ${event.executedPrice}, ${against(event.slippageBps)}; fees ${event.fees.venueFee} ${event.fees.venueFeeToken} and ${event.fees.networkFeeLamports} lamports.`,
  failed: (event) => `${event.message} (${event.code}). ${event.replayMayHelp ? "A replay may help." : "A replay would not help."}`,
  cancelled: (event) => `${event.reason}.`,
  expired: (event) => `${event.reason}.`,
};
