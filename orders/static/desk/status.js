// Whether there is data and trading: the page's connections, what operators have stopped, the prices, the engine itself.
//
// Everything that is wrong has its sentence; the worst of it is the word in the header.

import * as api from "./api.js";
import { byId, make, mark, say } from "./dom.js";
import { capital, when } from "./format.js";
import { sideOf } from "./sides.js";

const LOOK_MS = 250;
const READY_MS = 4_000;
const CONNECTIONS = ["refused", "reconnecting", "connecting"];
const WORDS = { refused: "not available" };

export class Status {
  // `stopped` is called when operators have stopped something more.
  constructor(market, { stopped: told }) {
    Object.assign(this, { market, told, links: { orders: "connecting", sell: "connecting", buy: "connecting" }, engine: null });
    setInterval(() => this.paint(), LOOK_MS);
    this.look();
  }

  connection(which, state) {
    this.links[which] = state;
    this.paint();
  }

  async look() {
    if (!document.hidden) this.engine = await api.readiness().catch(() => null);
    setTimeout(() => this.look(), READY_MS);
  }

  paint() {
    const connection = CONNECTIONS.find((one) => Object.values(this.links).includes(one));
    const troubles = connection ? [] : [...stopped(this.market), ...prices(this.market), ...engine(this.engine), ...venues(this.market)];
    const stops = this.market.stops.filter((one) => one.scope !== "venue").map((one) => one.message).join();
    if (stops && stops !== this.stops) this.told();
    this.stops = stops;
    const [worst] = connection ? [{ state: connection, word: WORDS[connection] || connection }] : troubles;
    mark(byId("link"), "data-state", worst?.state || "live");
    say(byId("link").querySelector("span"), worst?.word || "live");
    notices(troubles.map((one) => one.text).filter(Boolean));
  }
}

// A stop of one direction leaves the other one live.
function stopped({ stops, sell, buy }) {
  const found = stops.filter((one) => one.scope !== "venue");
  const isPart = ({ scope, state }) => scope === "pair" && state !== "reducing" && sell.pair && buy.pair && found.length === 1;
  return found.map((one) => ({ state: isPart(one) ? "partly" : one.state, word: isPart(one) ? `${doing[sideOf(one.name).side]} ${one.state}` : one.state, text: told(one) }));
}

const doing = { buy: "buying", sell: "selling" };

function told({ scope, name, message, reason, since }) {
  if (!since) return `${message}.`;
  const { side, base, quote } = sideOf(name);
  const said = message.slice(0, -reason.length - 2);
  const subject = scope === "pair" ? `${doing[side]} ${base} ${side === "buy" ? "with" : "for"} ${quote}${said.slice(name.length)}` : said;
  return `${capital(subject)} since ${when(since)}: ${reason}.`;
}

// Old prices are flagged at the chart, with their age.
function prices({ age, freshMs, staleMs, main }) {
  if (!main.begun || (age !== null && age <= freshMs)) return [];
  const none = age === null || age > staleMs;
  return [none ? { state: "down", word: "no prices", text: "No venue quotes this pair: there is no price to trade on." } : { state: "stale", word: "prices old" }];
}

// Whether the venues quote is judged of this pair, not of any.
function engine(found) {
  const wrong = Object.entries(found?.parts || {}).filter(([part, answer]) => part !== "quotes" && answer !== "ok");
  const away = found?.error !== undefined;
  return wrong.slice(0, 1).map(() => ({
    state: away ? "down" : "degraded", word: away ? "engine not ready" : "engine degraded",
    text: `The engine is ${away ? "not ready" : "degraded"}: ${wrong.map(([part, answer]) => `${part}: ${answer}`).join("; ")}.`,
  }));
}

function venues({ stops, staleMs, main: { quotes, heardAt, names } }) {
  return names.flatMap((name) => {
    const stop = stops.find((one) => one.scope === "venue" && one.name === name);
    const quote = quotes.find((one) => one.venue === name);
    const isQuoted = quote && quote.ageMs + Date.now() - heardAt <= staleMs;
    // One that does not quote fails, too: then that is said.
    if (stop && (isQuoted || stop.state !== "failing")) return [{ state: "partly", word: `${name} ${stop.state}`, text: told(stop) }];
    if (isQuoted) return [];
    return [{ state: "partly", word: `${name} down`, text: `${name} does not quote this pair; orders are routed without it.` }];
  });
}

function notices(texts) {
  const place = byId("notices");
  if (place.dataset.texts === texts.join("\n")) return;
  place.dataset.texts = texts.join("\n");
  place.hidden = !texts.length;
  place.replaceChildren(...texts.map((text) => make("p", {}, text)));
}
