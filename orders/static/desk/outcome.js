// The line beneath the button: what became of the order that was sent last, as long as that is true.

import { byId, say } from "./dom.js";
import { capital } from "./format.js";

export class Outcome {
  // `show(id)` brings an order's row into view.
  constructor(show) {
    byId("to-order").addEventListener("click", () => show(this.id));
  }

  say(text, id = null, terms = null) {
    Object.assign(this, { id, terms });
    say(byId("outcome"), text);
    byId("to-order").hidden = !id;
  }

  accepted(terms, id) {
    this.say(`Accepted: ${terms}`, id, terms);
  }

  ended({ id, status }) {
    if (this.id === id && this.terms) this.say(`${capital(status)}: ${this.terms}`, id);
  }

  clear() {
    this.say("");
  }
}
