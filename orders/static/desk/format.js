// How figures are written.  Amounts and prices come as decimal texts and are numbers only to be looked at.

const groups = new Map();

function grouped(places, least) {
  const key = `${places}/${least}`;
  if (!groups.has(key)) {
    groups.set(key, new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: places }));
  }
  return groups.get(key);
}

export const NONE = "–";

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Decimals of a tick: "0.01" has two.
export const places = (tick) => (tick.split(".")[1] || "").length;

export function price(text, tick) {
  if (text === null || text === undefined) return NONE;
  if (!tick) return figure(text);
  const count = Math.min(places(tick), 12);
  return grouped(count, count).format(Number(text));
}

// A figure whose tick is not known: as many decimals as seven significant digits need.
export function figure(text, digits = 7) {
  if (text === null || text === undefined) return NONE;
  const value = Number(text);
  if (value === 0) return "0";
  const whole = Math.floor(Math.log10(Math.abs(value))) + 1;
  return grouped(Math.max(0, Math.min(18, digits - whole)), 0).format(value);
}

// A decimal text as it is, to the last digit, with its thousands apart.
export function exactly(text) {
  const [whole, part] = String(text).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part === undefined ? "" : `.${part}`);
}

export function bps(text) {
  if (text === null || text === undefined) return NONE;
  const value = Number(text);
  // No "-0".
  return `${grouped(2, 0).format(Math.abs(value) < 0.005 ? 0 : value)} bps`;
}

// Slippage counts what an execution cost against its quote: a negative one is a gain.
export function cost(text) {
  const value = Number(text);
  if (Math.abs(value) < 0.005) return "as quoted";
  return `${bps(String(Math.abs(value)))} ${value > 0 ? "worse" : "better"}`;
}

export function percent(ratio) {
  return `${ratio >= 0 ? "+" : "−"}${grouped(2, 2).format(Math.abs(ratio) * 100)} %`;
}

export function duration(ms) {
  if (ms < 0) return "0 ms";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}

const two = (value) => String(value).padStart(2, "0");

export function clockTime(when) {
  const at = new Date(when);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

// The day as well, unless it is today.
export function when(text) {
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  return today ? clockTime(at) : `${two(at.getDate())}.${two(at.getMonth() + 1)}. ${two(at.getHours())}:${two(at.getMinutes())}`;
}

// A mark of a time axis, as fine as its steps; midnight is a date.
export function axisTime(at, step) {
  const time = new Date(at);
  if (time.getHours() === 0 && time.getMinutes() === 0 && time.getSeconds() === 0) return `${two(time.getDate())}.${two(time.getMonth() + 1)}.`;
  return step < 60 ? clockTime(at) : `${two(time.getHours())}:${two(time.getMinutes())}`;
}
