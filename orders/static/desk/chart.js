// The chart of one pair: what each venue pays after its fee, BEST above them, resting limits and fills.

import { clockTime, places } from "./format.js";

const POINTS_MAX = 1_800;
const LINES_MAX = 8;
const FILLS_MAX = 40;
// Levels this near to BEST are kept in sight.
const NEAR = 0.04;

const NAMES = ["BEST", "RAYDIUM", "METEORA"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  constructor(element) {
    const { createChart, LineSeries, createSeriesMarkers, LineStyle } = window.LightweightCharts;
    this.dashed = LineStyle.Dashed;
    this.chart = createChart(element, {
      autoSize: true,
      // Its logo brings an inline style, which our policy forbids; the page's foot names TradingView instead.
      layout: { attributionLogo: false, fontFamily: colour("--font") || "sans-serif", fontSize: 11 },
      timeScale: { timeVisible: true, secondsVisible: true, rightOffset: 4, tickMarkFormatter: (at) => clockTime(at * 1000) },
      localization: { timeFormatter: (at) => clockTime(at * 1000) },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.12, bottom: 0.1 } },
      handleScale: { axisPressedMouseMove: true },
    });
    const common = { lastValueVisible: true, priceLineVisible: false, crosshairMarkerRadius: 3 };
    this.series = {
      RAYDIUM: this.chart.addSeries(LineSeries, { ...common, lineWidth: 1 }),
      METEORA: this.chart.addSeries(LineSeries, { ...common, lineWidth: 1 }),
      BEST: this.chart.addSeries(LineSeries, { ...common, lineWidth: 2, autoscaleInfoProvider: (own) => this.withLevels(own()) }),
    };
    this.markers = createSeriesMarkers(this.series.BEST, []);
    this.lines = new Map();
    this.points = new Map();
    this.levels = [];
    this.fills = [];
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
  begin(tick) {
    this.points = new Map();
    for (const name of NAMES) this.series[name].setData([]);
    this.setLevels([]);
    this.setFills([]);
    this.shape(tick);
    this.chart.priceScale("right").applyOptions({ autoScale: true });
  }

  shape(tick) {
    const precision = Math.min(places(tick), 12);
    const priceFormat = { type: "price", precision, minMove: 1 / 10 ** precision };
    for (const name of NAMES) this.series[name].applyOptions({ priceFormat });
  }

  // The server's last minutes and our own become one line, whoever was away meanwhile.
  merge(trail, venues) {
    for (const [second, ...values] of trail) {
      const best = values.pop();
      this.points.set(second, { BEST: best, ...Object.fromEntries(venues.map((venue, i) => [venue, values[i]])) });
    }
    const seconds = [...this.points.keys()].sort((a, b) => a - b).slice(-POINTS_MAX);
    this.points = new Map(seconds.map((second) => [second, this.points.get(second)]));
    for (const name of NAMES) {
      this.series[name].setData(seconds.filter((at) => this.points.get(at)[name]).map((at) => ({ time: at, value: Number(this.points.get(at)[name]) })));
    }
    this.last = seconds[seconds.length - 1];
    this.drawFills();
  }

  add(second, values) {
    if (this.last !== undefined && second < this.last) return;
    this.last = second;
    this.points.set(second, values);
    for (const name of NAMES) if (values[name]) this.series[name].update({ time: second, value: Number(values[name]) });
  }

  setLevels(levels) {
    this.levels = levels.slice(0, LINES_MAX);
    const wanted = new Set(this.levels.map((one) => one.price));
    for (const [price, line] of this.lines) {
      if (wanted.has(price)) continue;
      this.series.BEST.removePriceLine(line);
      this.lines.delete(price);
    }
    for (const { price, orders } of this.levels) {
      const title = orders === 1 ? "limit" : `${orders} limits`;
      const known = this.lines.get(price);
      if (known) known.applyOptions({ title });
      else this.lines.set(price, this.series.BEST.createPriceLine({ price: Number(price), title, lineWidth: 1, lineStyle: this.dashed, axisLabelVisible: true, ...this.lineColours() }));
    }
  }

  withLevels(info) {
    if (!info?.priceRange) return info;
    let { minValue, maxValue } = info.priceRange;
    for (const { price } of this.levels) {
      const value = Number(price);
      if (value > maxValue && value <= maxValue * (1 + NEAR)) maxValue = value;
    }
    return { ...info, priceRange: { minValue, maxValue } };
  }

  setFills(fills) {
    this.fills = fills.slice(0, FILLS_MAX);
    this.drawFills();
  }

  drawFills() {
    const first = this.points.keys().next().value;
    const seen = this.fills
      .map((one) => ({ ...one, time: Math.floor(Date.parse(one.at) / 1000) }))
      .filter((one) => first !== undefined && one.time >= first)
      .sort((a, b) => a.time - b.time);
    this.markers.setMarkers(seen.map((one) => ({
      id: one.txHash, time: one.time, position: "atPriceMiddle", price: Number(one.price), shape: "circle", size: 0.7, color: colour("--fill"),
    })));
  }
}
