// The recorded prices of a pair: read when the chart needs them, and again until they have come.

import * as api from "./api.js";
import * as clock from "./clock.js";
import { NAMES } from "./chart.js";

const AGAIN_MS = 2_000;
// The engine completes a minute some seconds after its end: until then the chart lacks one.
const RECENT_EVERY_MS = 10_000;
const RECENT_S = 300;

export const RANGES = {
  "5m": { seconds: 300, step: 1, interval: "1s" },
  "1h": { seconds: 3_600, step: 1, interval: "1s" },
  "6h": { seconds: 21_600, step: 60, interval: "1m" },
  "24h": { seconds: 86_400, step: 60, interval: "1m" },
  "7d": { seconds: 604_800, step: 60, interval: "1m" },
};

export class History {
  constructor(chart) {
    Object.assign(this, { chart, pair: null, range: RANGES["5m"], asked: 0 });
    setInterval(() => {
      if (this.pair && this.range.interval === "1m") this.load(RECENT_S);
    }, RECENT_EVERY_MS);
  }

  // All of it, whoever was away meanwhile; a later call replaces an earlier one that has no answer yet.
  show(pair, range) {
    Object.assign(this, { pair, range });
    clearTimeout(this.timer);
    this.asked += 1;
    return this.load(range.seconds);
  }

  async load(seconds) {
    const { asked, pair, range } = this;
    const query = { interval: range.interval, from: new Date(clock.now() - seconds * 1_000).toISOString() };
    try {
      const found = await Promise.all(NAMES.map((venue) => api.candles(pair, { ...query, venue })));
      if (asked === this.asked) this.chart.take(found);
    } catch {
      if (asked === this.asked) this.timer = setTimeout(() => this.load(seconds), AGAIN_MS);
    }
  }
}
