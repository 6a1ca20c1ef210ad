// What the account has of the tokens that the ticket trades, and what of it is free to sell.

import * as api from "./api.js";
import { product, unit } from "./decimal.js";
import { byId, make, mark } from "./dom.js";
import { figure } from "./format.js";

const AGAIN_MS = 3_000;
// Digits of an amount; the exact one is its title.
const DIGITS = 12;

export class Balances {
  constructor() {
    this.known = new Map();
    this.tokens = [];
    setInterval(() => !document.hidden && this.read(), AGAIN_MS);
    this.read();
  }

  show(tokens) {
    this.tokens = tokens;
    this.paint();
  }

  async read() {
    try {
      this.known = new Map((await api.balances()).map((one) => [one.token, one]));
    } catch {
      // An old figure would be taken for a new one.
      this.known = new Map();
    }
    this.paint();
  }

  // So many percent of what is free of a token, in its smallest units rounded down; null while that is not known.
  share(token, percent) {
    const found = this.known.get(token.symbol);
    return found ? product(found.available, percent === "100" ? "1" : `0.${percent}`, unit(token)) : null;
  }

  paint() {
    const rows = this.tokens.map((token) => this.known.get(token.symbol)).filter(Boolean);
    const key = JSON.stringify(rows);
    if (key === this.painted) return;
    this.painted = key;
    byId("balances").replaceChildren(...rows.map(row));
    for (const one of document.querySelectorAll("[data-set=amount]")) mark(one, "aria-disabled", String(!rows.length));
  }
}

function row({ token, available, reserved, total }) {
  const rest = reserved === "0" ? " available" : ` + ${figure(reserved, DIGITS)} reserved`;
  return make("div", { title: `${token}: ${available} available, ${reserved} reserved by open orders, ${total} in total` },
    make("dt", {}, token), make("dd", {}, `${figure(available, DIGITS)}${rest}`));
}
