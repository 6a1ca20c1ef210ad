// Errors beside the field they are about, in the API's words.

import { make, say } from "./dom.js";

// Fields in words, as the subject of what is wrong with them.
const NAMES = { amount: "The amount", slippageBps: "Slippage", limitPrice: "The limit price", maxPrice: "The highest price", tokenOut: "The token",
  expiresAt: "The time", trigger: "What it waits for", timeInForce: "Time in force" };

// What is wrong, to be read away from the fields.
export const sentences = (fields) => fields.map((one) => `${NAMES[one.field] || one.field} ${one.message}.`).join(" ");

// Shows the errors among `names`; returns what belongs to no field of this form.
export function showErrors(form, fields, prefix = "") {
  const left = [];
  for (const one of fields) {
    const place = form.querySelector(`#${CSS.escape(`${prefix}${one.field}-error`)}`);
    if (!place || place.closest("[hidden]:not(.error)")) {
      left.push(`${one.field} ${one.message}`);
      continue;
    }
    place.hidden = false;
    say(place, one.message);
    place.title = one.accepted || "";
    const input = inputOf(form, place);
    input?.setAttribute("aria-invalid", "true");
    input?.setAttribute("aria-describedby", place.id);
  }
  return left;
}

export function clearErrors(form) {
  for (const place of form.querySelectorAll(".error")) {
    say(place, "");
    place.title = "";
  }
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

export const firstWrong = (form) => form.querySelector("[aria-invalid=true]");

const inputOf = (form, place) => form.querySelector(`#${CSS.escape(place.id.replace(/-error$/, ""))}`) || place.parentElement.querySelector("input, select");

export function field(prefix, name, label, value, more = {}) {
  const id = `${prefix}${name}`;
  return make("div", { class: "field" },
    make("label", { for: id }, label),
    make("input", { id, name, value, autocomplete: "off", inputmode: "decimal", ...more }),
    make("p", { class: "error", id: `${id}-error` }));
}

// A local date and time as the API takes it; what is none goes as it is, and the API says so.
export function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}
