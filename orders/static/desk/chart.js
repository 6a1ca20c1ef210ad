// The chart of one pair: what each venue pays after its fee, BEST above them, resting limits and fills.
//
// Its time axis is even: every second or minute of the range has its place, whether or not there was a quote.

import * as clock from "./clock.js";
import { axisTime, places, when } from "./format.js";
import { perBase } from "./sides.js";

const LINES_MAX = 8;
const FILLS_MAX = 40;
// Levels this near to BEST are kept in sight.
const NEAR = 0.04;

const CLEAR = "rgba(0, 0, 0, 0)";
// Parts of the range: what is free to the right of now, and after how much more all of it is drawn anew.
const ROOM = 0.02;
const RENEW = 0.5;

export const NAMES = ["BEST", "RAYDIUM", "METEORA"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  constructor(element) {
    const { createChart, LineSeries, createSeriesMarkers, LineStyle } = window.LightweightCharts;
    this.dashed = LineStyle.Dashed;
    this.chart = createChart(element, {
      autoSize: true,
      // Its logo brings an inline style, which our policy forbids; the page's foot names TradingView instead.
      layout: { attributionLogo: false, fontFamily: colour("--font") || "sans-serif", fontSize: 11 },
      timeScale: { timeVisible: true, secondsVisible: true, minBarSpacing: 0.01, shiftVisibleRangeOnNewBar: false, tickMarkFormatter: (at) => axisTime(at * 1000, this.range.step) },
      localization: { timeFormatter: (at) => when(at * 1000) },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.12, bottom: 0.1 } },
      handleScale: { axisPressedMouseMove: true },
    });
    const common = { lastValueVisible: true, priceLineVisible: false, crosshairMarkerRadius: 3 };
    this.series = {
      RAYDIUM: this.chart.addSeries(LineSeries, { ...common, lineWidth: 1 }),
      METEORA: this.chart.addSeries(LineSeries, { ...common, lineWidth: 1 }),
      BEST: this.chart.addSeries(LineSeries, { ...common, lineWidth: 2, autoscaleInfoProvider: (own) => this.withLevels(own()) }),
    };
    // Has a place for every step of the range and no value: it keeps the axis even.
    this.axis = this.chart.addSeries(LineSeries, { lastValueVisible: false, priceLineVisible: false });
    this.markers = createSeriesMarkers(this.series.BEST, []);
    this.lines = new Map();
    this.levels = [];
    this.fills = [];
    this.range = { seconds: 300, step: 1 };
    this.gapS = 10;
    this.forget();
    for (const event of ["wheel", "pointerdown"]) element.addEventListener(event, () => (this.moved = true), { passive: true });
    element.addEventListener("dblclick", () => this.back());
    setInterval(() => this.advance(), 1_000);
    this.paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  paint() {
    this.chart.applyOptions({
      layout: { background: { color: colour("--panel") }, textColor: colour("--muted") },
      grid: { vertLines: { color: colour("--grid") }, horzLines: { color: colour("--grid") } },
      timeScale: { borderColor: colour("--edge") },
      crosshair: { vertLine: { color: colour("--muted"), labelBackgroundColor: colour("--muted") },
        horzLine: { color: colour("--muted"), labelBackgroundColor: colour("--muted") } },
    });
    for (const name of NAMES) this.series[name].applyOptions({ color: colour(`--${name.toLowerCase()}`) });
    for (const one of this.lines.values()) one.applyOptions(this.lineColours());
    this.drawFills();
  }

  lineColours() {
    return { color: colour("--limit"), axisLabelColor: colour("--limit-label"), axisLabelTextColor: colour("--panel") };
  }

  // Another pair: nothing of the old one may stay.
  begin(tick, side) {
    this.side = side;
    this.forget();
    this.setLevels([]);
    this.setFills([]);
    this.shape(tick);
    this.chart.priceScale("right").applyOptions({ autoScale: true });
  }

  forget() {
    this.points = Object.fromEntries(NAMES.map((name) => [name, new Map()]));
    this.latest = {};
    this.moved = false;
    this.draw();
  }

  shape(tick) {
    const precision = Math.min(places(tick), 12);
    const priceFormat = { type: "price", precision, minMove: 1 / 10 ** precision };
    for (const name of NAMES) this.series[name].applyOptions({ priceFormat });
  }

  back() {
    this.moved = false;
    this.fit();
  }

  setRange(range) {
    this.range = range;
    this.forget();
  }

  // A line is broken after this many milliseconds without a quote.
  setGap(ms) {
    this.gapS = ms / 1_000;
  }

  step(ms) {
    const { step } = this.range;
    return Math.floor(ms / 1_000 / step) * step;
  }

  apart(earlier, later) {
    return later - earlier > Math.max(this.gapS, this.range.step);
  }

  // Recorded prices, in answers of the API: what was recorded replaces what was seen live.
  take(answers) {
    for (const { venue, candles } of answers) {
      for (const { at, close } of candles) this.points[venue].set(this.step(Date.parse(at)), perBase(this.side, close));
    }
    this.draw();
  }

  draw() {
    const { seconds, step } = this.range;
    const scale = this.chart.timeScale();
    const [seen, before] = [scale.getVisibleLogicalRange(), this.first];
    this.last = this.step(clock.now());
    this.first = this.last - seconds + step;
    this.axis.setData(Array.from({ length: seconds / step }, (_, i) => ({ time: this.first + i * step })));
    for (const name of NAMES) this.series[name].setData(this.line(name));
    this.drawFills();
    const gone = (this.first - before) / step;
    if (this.moved && seen) scale.setVisibleLogicalRange({ from: seen.from - gone, to: seen.to - gone });
    else this.fit();
  }

  // The whole range, up to now; whoever has moved or scaled the axis keeps seeing the same time instead.
  fit() {
    const { seconds, step } = this.range;
    const [end, count] = [(this.last - this.first) / step + 1, seconds / step];
    this.chart.timeScale().setVisibleLogicalRange({ from: end - count, to: end + count * ROOM });
  }

  // A point's colour is that of the line from it to the next: none where there is a gap.
  line(name) {
    const times = [...this.points[name].keys()].filter((at) => at >= this.first).sort((a, b) => a - b);
    this.points[name] = new Map(times.map((at) => [at, this.points[name].get(at)]));
    this.latest[name] = times[times.length - 1];
    return times.map((time, i) => ({
      time, value: this.points[name].get(time), ...(this.apart(time, times[i + 1] ?? time) && { color: CLEAR }),
    }));
  }

  // A live price; one that is older than the last is in the history.
  add(name, ms, price) {
    const time = this.step(ms);
    const before = this.latest[name];
    if (time < Math.max(before ?? 0, this.first)) return;
    const value = perBase(this.side, price);
    this.points[name].set(time, value);
    this.latest[name] = time;
    if (before === undefined || this.apart(before, time)) this.draw();
    else this.series[name].update({ time, value });
  }

  // The axis goes on, with or without prices.
  advance() {
    const time = this.step(clock.now());
    if (time - this.last > RENEW * this.range.seconds || this.last - this.first > (1 + RENEW) * this.range.seconds) this.draw();
    for (let at = this.last + this.range.step; at <= time; at += this.range.step) this.axis.update({ time: at });
    if (time === this.last) return;
    this.last = Math.max(time, this.last);
    if (!this.moved) this.fit();
  }

  setLevels(levels) {
    this.levels = levels.slice(0, LINES_MAX);
    const name = ({ side, price }) => `${side} ${price}`;
    const wanted = new Set(this.levels.map(name));
    for (const [key, line] of this.lines) {
      if (wanted.has(key)) continue;
      this.series.BEST.removePriceLine(line);
      this.lines.delete(key);
    }
    for (const level of this.levels) {
      const { side, price, orders } = level;
      const title = orders === 1 ? side : `${orders} ${side}s`;
      const known = this.lines.get(name(level));
      if (known) known.applyOptions({ title });
      else this.lines.set(name(level), this.series.BEST.createPriceLine({ price, title, lineWidth: 1, lineStyle: this.dashed, axisLabelVisible: true, ...this.lineColours() }));
    }
  }

  withLevels(info) {
    if (!info?.priceRange) return info;
    let { minValue, maxValue } = info.priceRange;
    for (const { price } of this.levels) {
      if (price > maxValue && price <= maxValue * (1 + NEAR)) maxValue = price;
      if (price < minValue && price >= minValue * (1 - NEAR)) minValue = price;
    }
    return { ...info, priceRange: { minValue, maxValue } };
  }

  setFills(fills) {
    this.fills = fills.slice(0, FILLS_MAX);
    this.drawFills();
  }

  drawFills() {
    const seen = this.fills
      .map((one) => ({ ...one, time: this.step(Date.parse(one.at)) }))
      .filter((one) => one.time >= this.first)
      .sort((a, b) => a.time - b.time);
    this.markers.setMarkers(seen.map((one) => ({
      id: one.txHash, time: one.time, position: "atPriceMiddle", price: one.price, shape: "circle", size: 0.7, color: colour(`--${one.side}`),
    })));
  }
}
