// Places a ticket so that it becomes one order, however often it is sent.

import * as api from "./api.js";

const TRIES_MAX = 7;
// With these the engine does not know itself whether it has accepted the order.
const UNSURE = new Set(["store_unreachable", "internal", "unreadable"]);

// Where an order without an answer outlives a reload of the page, and no more than this window.
const KEPT = "unanswered";

export class Unanswered extends Error {}

export class Placing {
  constructor(retrying) {
    this.retrying = retrying;
    this.open = null;
  }

  // Whether the page before was left with an order that had no answer, and the order; null if the engine has none.
  // While nobody answers it goes on asking.
  async left() {
    const id = sessionStorage.getItem(KEPT);
    if (!id) return { asked: false };
    // One that was on its way when the page was left may come to be known yet.
    for (let tries = 1; ; tries += 1) {
      try {
        return this.told(id, await api.named(id));
      } catch (reason) {
        if (tries >= TRIES_MAX && reason.status === 404) return this.told(id, null);
      }
      await pause(tries);
    }
  }

  told(id, order) {
    if (sessionStorage.getItem(KEPT) === id) sessionStorage.removeItem(KEPT);
    return { asked: true, order };
  }

  keep(open) {
    this.open = open;
    if (open) sessionStorage.setItem(KEPT, open.order.clientOrderId);
    else sessionStorage.removeItem(KEPT);
  }

  // Whether an earlier order may have been accepted, and this ticket is not the one it was.
  differs(key) {
    return Boolean(this.open) && this.open.key !== key;
  }

  // Raises Refused, or Unanswered: the same ticket then sends the very same order the next time, whatever the price is.
  async place(key, order) {
    if (this.open?.key !== key) this.keep({ key, order: { ...order, clientOrderId: `desk-${randomHex()}` }, lost: false });
    for (let tries = 1; ; tries += 1) {
      try {
        const accepted = await api.place(this.open.order);
        this.keep(null);
        return accepted;
      } catch (reason) {
        this.judge(reason, tries);
      }
      this.retrying();
      await pause(tries);
    }
  }

  judge(reason, tries) {
    if (reason instanceof api.Refused && !UNSURE.has(reason.code)) {
      // It answers this request; an earlier one without an answer may still have been accepted.
      if (!this.open.lost) this.keep(null);
      throw reason;
    }
    this.open.lost = true;
    if (tries >= TRIES_MAX) throw new Unanswered();
  }
}

const pause = (tries) => new Promise((go) => setTimeout(go, Math.min(4_000, 250 * 2 ** tries)));

function randomHex() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
