// Places a ticket so that it becomes one order, however often it is sent.

import * as api from "./api.js";

const TRIES_MAX = 7;
// With these the engine does not know itself whether it has accepted the order.
const UNSURE = new Set(["store_unreachable", "internal", "unreadable"]);

export class Unanswered extends Error {}

export class Placing {
  constructor(retrying) {
    this.retrying = retrying;
    this.open = null;
  }

  // Whether an earlier order may have been accepted, and this ticket is not the one it was.
  differs(key) {
    return Boolean(this.open) && this.open.key !== key;
  }

  // Raises Refused, or Unanswered: the same ticket then sends the very same order the next time, whatever the price is.
  async place(key, order) {
    if (this.open?.key !== key) this.open = { key, order: { ...order, clientOrderId: `desk-${randomHex()}` }, lost: false };
    for (let tries = 1; ; tries += 1) {
      try {
        const accepted = await api.place(this.open.order);
        this.open = null;
        return accepted;
      } catch (reason) {
        this.judge(reason, tries);
      }
      this.retrying();
      await new Promise((go) => setTimeout(go, Math.min(4_000, 250 * 2 ** tries)));
    }
  }

  judge(reason, tries) {
    if (reason instanceof api.Refused && !UNSURE.has(reason.code)) {
      // It answers this request; an earlier one without an answer may still have been accepted.
      if (!this.open.lost) this.open = null;
      throw reason;
    }
    this.open.lost = true;
    if (tries >= TRIES_MAX) throw new Unanswered();
  }
}

function randomHex() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
