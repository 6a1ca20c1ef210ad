// Changing a resting order in place: only what was changed is sent, and only for the state that was seen.

import * as api from "./api.js";
import { numeral } from "./decimal.js";
import { make, say } from "./dom.js";
import { clearErrors, field, firstWrong, moment, showErrors } from "./fields.js";
import { FINE, known, limitPrice, sideOf, typed } from "./sides.js";

export function amendForm(order, { done, dropped }) {
  const seen = order.seq;
  const prefix = `amend-${order.id}-`;
  const given = { amount: order.terms.amountIn };
  const { side, base, quote } = sideOf(order.pair);
  if (order.type === "limit") given.limitPrice = typed(side, order.terms.limitPrice);
  else given.maxPrice = order.terms.maxPrice || "";
  const labels = { amount: `Amount, ${order.pair.split("-")[0]}`, limitPrice: `Limit price, ${quote} per ${base}`, maxPrice: "At most" };
  const inputs = Object.entries(given).reverse().map(([name, value]) => field(prefix, name, labels[name], value));
  inputs.push(field(prefix, "expiresAt", "Until", local(order.terms.expiresAt), { type: "datetime-local", step: "1", inputmode: null }));
  const note = make("p", { class: "note", role: "status" });
  const save = make("button", { type: "submit" }, "Save");
  const form = make("form", { class: "amend", novalidate: true, "aria-label": "Amend order" }, ...inputs,
    make("div", { class: "buttons" }, save, make("button", { type: "button", class: "quiet", on: { click: dropped } }, "Discard")), note);
  given.expiresAt = local(order.terms.expiresAt);

  form.addEventListener("keydown", (event) => event.key === "Escape" && dropped());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearErrors(form);
    const changes = changed(form, given);
    if (changes.limitPrice) changes.limitPrice = limitPrice({ side, pair: known.get(order.pair) || { tick: FINE } }, changes.limitPrice);
    if (!Object.keys(changes).length) return say(note, "Nothing was changed.");
    save.disabled = true;
    say(note, "Saving…");
    try {
      await api.amend(order.id, seen, changes);
      done("Amended.");
    } catch (reason) {
      say(note, explain(form, reason, prefix));
      firstWrong(form)?.focus();
    }
    save.disabled = false;
    return undefined;
  });
  return form;
}

function changed(form, given) {
  const found = {};
  for (const [name, was] of Object.entries(given)) {
    const is = numeral(form.elements[name].value.trim());
    if (is === was) continue;
    if (name === "expiresAt") found[name] = is ? moment(is) : null;
    else found[name] = name === "maxPrice" && !is ? null : is;
  }
  return found;
}

function explain(form, reason, prefix) {
  if (!(reason instanceof api.Refused)) return "No answer; check the order before you try again.";
  if (reason.status === 412) return "Not amended: the order has changed meanwhile. Close this form and check the order.";
  if (reason.status !== 400) return `Not amended: ${reason.message}.`;
  const left = showErrors(form, reason.fields, prefix);
  if (!reason.fields.length) return `Not amended: ${reason.message}.`;
  return left.length ? `Not amended: ${left.join("; ")}.` : "Not amended.";
}

function local(text) {
  if (!text) return "";
  const at = new Date(text);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
