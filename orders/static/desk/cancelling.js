// Cancels every resting order of the market that is shown, both ways, after asking once.

import * as api from "./api.js";
import { agreed } from "./question.js";
import { toast } from "./toasts.js";

const PAGE = 200;
const ROUNDS_MAX = 20;

const orders = (count) => (count === 1 ? "1 order" : `${count} orders`);

// `pairs`: the directions of the market, by which it is known as `name`.
export async function cancelAll(name, pairs) {
  try {
    const pages = await Promise.all(pairs.map((pair) => api.list({ pair, status: "pending", limit: PAGE })));
    const count = pages.flatMap((page) => page.results).filter((one) => one.type !== "market").length;
    if (!count) return toast(`No orders rest for ${name}.`);
    const said = `${pages.some((page) => page.next) ? "more than " : ""}${orders(count)}`;
    const text = `All resting limit and sniper orders of ${name}, buying and selling: ${said}. Orders that have fired go on.`;
    if (!(await agreed({ title: `Cancel all of ${name}?`, text, yes: `Cancel ${said}`, no: "Keep them" }))) return undefined;
    return report(name, await Promise.all(pairs.map(cancelPair)));
  } catch (reason) {
    const why = reason instanceof api.Refused ? `${reason.message}.` : "no answer; some may have been cancelled. It is safe to try again.";
    return toast(`Not all of ${name} cancelled: ${why}`, "bad");
  }
}

async function cancelPair(pair) {
  const done = { cancelled: 0, lost: 0, complete: false };
  for (let round = 1; !done.complete && round <= ROUNDS_MAX; round += 1) {
    const found = await api.cancelAll(pair);
    done.cancelled += found.cancelled;
    done.lost += found.lost;
    done.complete = found.complete;
  }
  return done;
}

function report(name, done) {
  const sum = (what) => done.reduce((all, one) => all + one[what], 0);
  const lost = sum("lost") ? `; ${sum("lost")} fired or ended first` : "";
  const rest = done.every((one) => one.complete) ? "" : "; more are left, try again";
  toast(`Cancelled ${orders(sum("cancelled"))} of ${name}${lost}${rest}.`);
}
