// The dashboard: draws the figures that came with the page, then asks for new ones every few seconds.
"use strict";

(() => {
  const POLL_MS = 3000;
  const POLL_MAX_MS = 30000;
  const root = document.getElementById("dashboard");
  const outcomes = ["confirmed", "failed", "cancelled", "expired", "unfinished"];
  const colours = {
    confirmed: "var(--good)", failed: "var(--bad)", cancelled: "var(--calm)", expired: "var(--second)",
    unfinished: "var(--warn)",
  };
  let delay = POLL_MS;

  // --- drawing ---------------------------------------------------------------------------------------------------

  function el(name, props = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(props)) {
      if (key === "class") made.className = value;
      else if (key === "style") made.style.cssText = value;
      else made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function svg(name, props = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(props)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const whole = (number) => Math.round(number).toLocaleString("en");
  const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;
  const percent = (part, all) => (all ? `${((100 * part) / all).toFixed(part === all || !part ? 0 : 1)} %` : "–");
  const clock = (iso) => iso.slice(11, 16);

  function span(ms) {
    if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
    if (ms < 120000) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
    if (ms < 7200000) return `${Math.round(ms / 60000)} min`;
    return ms < 172800000 ? `${Math.round(ms / 3600000)} h` : `${Math.round(ms / 86400000)} d`;
  }

  function table(head, rows, empty) {
    if (!rows.length) return el("p", { class: "none" }, empty);
    // What has no name is no heading.
    const cells = (kind, row) => row.map((cell, i) =>
      el(cell === "" ? "td" : kind, i ? { class: "number" } : { class: "name" }, cell));
    return el("table", {},
      head.some(Boolean) ? el("thead", {}, el("tr", {}, ...cells("th", head))) : null,
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells("td", row)))));
  }

  function bar(share, colour = "var(--first)") {
    const width = Math.max(share > 0 ? 1 : 0, Math.min(100, 100 * share));
    return el("span", { class: "bar", "aria-hidden": "true" }, el("i", { style: `width:${width}%;background:${colour}` }));
  }

  function ceiling(number) {
    const step = 10 ** Math.floor(Math.log10(Math.max(1, number)));
    return [1, 2, 5, 10].map((times) => times * step).find((top) => top >= number) || 10;
  }

  // One line for each part of the engine; of what is not well, what is wrong and what to do.
  function strip(f) {
    const stops = (f.pauses || []).map((one) => ({
      state: one.state === "halted" ? "down" : "degraded", said: `${one.what} is ${one.state}: ${one.reason} (${one.by})`,
    }));
    const trading = { name: "trading", said: stops.length ? stops.map((one) => one.said).join("; ") : "ok",
      state: stops.some((one) => one.state === "down") ? "down" : stops.length ? "degraded" : "ok",
      remedy: stops.length ? "Resume under Pauses once the cause is found." : "" };
    const lines = [...f.parts, ...(f.pauses ? [trading] : [])];
    const notes = f.notes || [], ofPart = (name) => notes.find((one) => one.subject === name);
    return [
      ...lines.map(({ name, state, said, remedy }) =>
        el("li", { class: state }, el("i", { "aria-hidden": "true" }), el("b", {}, name), el("span", {}, said),
          remedy ? el("small", {}, remedy) : null,
          ofPart(name) ? noted(ofPart(name), f) : state === "ok" || !f.links.acknowledge ? null : el("a", {
            href: `${f.links.acknowledge}?what=${encodeURIComponent(name)}` }, "Acknowledge"))),
      ...notes.filter((one) => !lines.some((line) => line.name === one.subject)).map((one) =>
        el("li", { class: "noted" }, el("i", { "aria-hidden": "true" }), el("b", {}, one.subject), noted(one, f))),
    ];
  }

  function noted(one, f) {
    return el("a", { class: "note", href: f.links.notes },
      `acknowledged by ${one.by} until ${one.until.slice(0, 16).replace("T", " ")} UTC: ${one.note}`);
  }

  // --- the parts ---------------------------------------------------------------------------------------------------

  function tile(title, value, note, state, link) {
    const inner = [el("dt", {}, title), el("dd", { class: state || "" }, value), el("dd", { class: "note" }, note)];
    return link ? el("a", { class: "tile", href: link }, el("dl", {}, ...inner)) : el("dl", { class: "tile" }, ...inner);
  }

  function tiles(f) {
    const made = [];
    if (f.pauses && f.pauses.length) {
      const named = f.pauses.map((one) => `${one.what}${one.state === "paused" ? "" : ` ${one.state}`}`).join(", ");
      const title = f.pauses.some((one) => one.state === "halted") ? "Halted" : f.pauses.some((one) => one.state === "paused") ? "Paused" : "Reducing";
      made.push(tile(title, whole(f.pauses.length), named, "bad", f.links.controls));
    }
    if (f.minutes) {
      const last = f.minutes.slice(-6, -1).reduce((sum, one) => sum + outcomes.reduce((n, o) => n + one[o], 0), 0);
      made.push(tile("Orders per minute", (last / 5).toFixed(last % 5 ? 1 : 0), "mean of the last 5 full minutes"));
      const old = f.oldest;
      made.push(old
        ? tile("Oldest unfinished order", span(old.age_s * 1000), `${old.status}, ${old.id.slice(0, 13)}…`,
          old.age_s > 60 ? "bad" : old.age_s > 15 ? "warn" : "", old.link)
        : tile("Oldest unfinished order", "none", "no order is in progress"));
      const safe = f.letters.find((one) => one.outlook === "safe");
      made.push(tile("Dead letters to replay", whole(safe.count), "may be replayed", safe.count ? "warn" : "", f.links.letters));
    }
    if (f.quotes) {
      const fresh = f.quotes.filter((one) => one.fresh).length;
      made.push(tile("Pairs with a fresh price", `${fresh} of ${f.quotes.length}`, "best price is current",
        fresh < f.quotes.length ? (fresh ? "warn" : "bad") : ""));
      const waiting = f.queues.reduce((sum, one) => sum + one.length, 0);
      made.push(tile("Messages in queues", whole(waiting), "not yet taken by a worker", waiting > 1000 ? "warn" : ""));
      made.push(tile("DBSync backlog", whole(f.dbsync), "entries not yet saved", f.dbsync > 1000 ? "warn" : ""));
    }
    return made;
  }

  function minutes(f) {
    // As wide as there is room: a drawing that is scaled down cannot be read.  Half an hour on a phone.
    const width = Math.max(300, root.clientWidth - 36), height = 220, left = 44, bottom = 22, top = 8;
    const lately = width < 600 ? f.minutes.slice(-30) : f.minutes;
    const sums = lately.map((one) => outcomes.reduce((sum, name) => sum + one[name], 0));
    const most = ceiling(Math.max(...sums, 1));
    const y = (count) => top + (height - top - bottom) * (1 - count / most);
    const step = (width - left) / lately.length;
    const total = Object.fromEntries(outcomes.map((name) => [name, f.minutes.reduce((sum, one) => sum + one[name], 0)]));
    const said = outcomes.map((name) => `${name} ${total[name]}`).join(", ");
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Orders accepted per minute in the last hour by outcome: ${said}` });
    for (const part of [0, 0.5, 1]) {
      chart.append(svg("line", { x1: left, x2: width, y1: y(most * part), y2: y(most * part), class: "grid" }),
        svg("text", { x: left - 8, y: y(most * part) + 4, "text-anchor": "end" }, `${most * part}`));
    }
    lately.forEach((one, i) => {
      const x = left + i * step;
      let base = 0;
      const column = svg("g", {});
      for (const name of outcomes) {
        if (!one[name]) continue;
        const h = Math.max(1, y(base) - y(base + one[name]));
        column.append(svg("rect", { x: x + 1, y: y(base) - h, width: Math.max(1, step - 2), height: h,
          style: `fill:${colours[name]}` }));
        base += one[name];
      }
      const told = outcomes.filter((name) => one[name]).map((name) => `${name} ${one[name]}`).join(", ");
      column.append(svg("rect", { x, y: top, width: step, height: height - top - bottom, class: "hover" }),
        svg("title", {}, `${clock(one.minute)} UTC: ${told || "no orders"}`));
      chart.append(column);
      if (i % 10 === 9) chart.append(svg("text", {
          x: i === lately.length - 1 ? width : x + step / 2, y: height - 5,
          "text-anchor": i === lately.length - 1 ? "end" : "middle" }, clock(one.minute)));
    });
    const legend = el("ul", { class: "legend" }, ...outcomes.map((name) =>
      el("li", {}, el("i", { style: `background:${colours[name]}` }), `${name} ${whole(total[name])}`)));
    return [legend, chart];
  }

  function stages(f) {
    const most = Math.max(...f.stages.map((one) => one.p99), 1);
    const rows = f.stages.map((one) => [
      one.stage === "total" ? "accepted to confirmed" : one.stage,
      el("span", { class: "range", "aria-hidden": "true" },
        el("i", { class: "p99", style: `width:${(100 * one.p99) / most}%` }),
        el("i", { class: "p95", style: `width:${(100 * one.p95) / most}%` }),
        el("i", { class: "p50", style: `width:${(100 * one.p50) / most}%` })),
      span(one.p50), span(one.p95), span(one.p99), whole(one.count)]);
    return [table(["stage", "", "p50", "p95", "p99", "orders"], rows, "No recent orders.")];
  }

  function venues(f) {
    const all = f.venues.reduce((sum, one) => sum + one.attempts, 0);
    const rows = f.venues.map((one) => {
      const ended = one.landed + one.rejected + one.expired;
      return [one.venue, bar(all ? one.attempts / all : 0), percent(one.attempts, all), percent(one.landed, ended),
        whole(one.landed), whole(one.rejected), whole(one.expired), whole(one.open)];
    });
    return [table(["venue", "", "wins", "success", "landed", "rejected", "expired", "open"], rows, "")];
  }

  function counts(rows, name, empty) {
    const most = Math.max(...rows.map((one) => one.count), 1);
    return [table(["", "", ""], rows.map((one) =>
      [one[name], bar(one.count / most), `${whole(one.count)}${one.more ? "+" : ""}`]), empty)];
  }

  function quotes(f) {
    const names = f.quotes.length ? Object.keys(f.quotes[0].ages) : [];
    const sorted = [...f.quotes.filter((one) => !one.fresh), ...f.quotes.filter((one) => one.fresh)];
    const rows = sorted.map((one) => [one.pair, ...names.map((venue) => {
      const age = one.ages[venue];
      const stop = (f.pauses || []).find((pause) => pause.scope === "venue" && pause.name === venue);
      if (stop) return el("b", { class: "age bad" }, stop.state);
      if (age === null) return el("b", { class: "age bad" }, "none");
      return el("b", { class: `age ${age <= f.freshMs ? "good" : age <= f.staleMs ? "warn" : "bad"}` }, span(age));
    }), one.fresh ? "fresh" : el("b", { class: "age bad" }, "stale")]);
    return [table(["pair", ...names, "BEST"], rows, "No active pairs.")];
  }

  function letters(f) {
    const words = { safe: "may be replayed", "cannot-help": "replay cannot help", landed: "landed, do not replay",
      wait: "wait: an attempt is open", replayed: "replayed" };
    return counts(f.letters.map((one) => ({ ...one, outlook: words[one.outlook] || one.outlook })), "outlook", "None.");
  }

  function queues(f) {
    const rows = f.queues.map((one) => [one.queue, whole(one.length),
      one.age_ms === null ? "unknown" : one.length ? span(one.age_ms) : ""]);
    return [table(["queue", "messages", "oldest"], rows, "")];
  }

  function repairs(f) {
    return [table(["", ""], Object.entries(f.repaired).map(([kind, count]) => [kind, whole(count)]), "")];
  }

  const panels = [
    ["wide", "Orders per minute, by outcome", (f) => "accepted in the last 60 minutes", minutes, "minutes"],
    ["half", "Time per stage", (f) => about(f), stages, "stages"],
    ["half", "Venues", (f) => `attempts; ${about(f)}`, venues, "venues"],
    ["tall", "Quote age", (f) => "each venue's last quote, by pair", quotes, "quotes"],
    ["", "Resting orders", (f) => "limit and sniper orders, by pair", (f) =>
      counts(f.resting, "pair", "No resting orders."), "resting"],
    ["", "Retries", (f) => `by reason; ${about(f)}`, (f) =>
      counts(f.retries, "code", "No retries."), "retries"],
    ["", "Dead letters", (f) => "the newest 10,000, by verdict", letters, "letters"],
    ["", "Queues", (f) => "messages not yet taken by a worker", queues, "queues"],
    ["", "Book repairs", (f) => "orders found inconsistent, in total", repairs, "repaired"],
  ];

  function about(f) {
    return `${f.recent.capped ? "the newest " : ""}${plural(f.recent.orders, "order")} of ${f.recent.minutes} minutes`;
  }

  function draw(f) {
    for (const { section, title, note, part, needs } of places) {
      section.hidden = !f[needs];
      if (f[needs]) section.replaceChildren(el("h2", {}, title, el("small", {}, note(f))), ...part(f));
    }
    root.querySelector(".strip").replaceChildren(...strip(f));
    root.querySelector(".away").replaceChildren(...f.away.map((text) => el("p", {}, text)));
    root.querySelector(".tiles").replaceChildren(...tiles(f));
    root.querySelector(".updated").textContent = `as of ${f.at.slice(11, 19)} UTC, updated every ${POLL_MS / 1000} s`;
    root.querySelector(".live").classList.remove("lost");
  }

  // --- staying current -----------------------------------------------------------------------------------------------

  async function poll() {
    if (!document.hidden) {
      try {
        const answer = await fetch(root.dataset.figures, { signal: AbortSignal.timeout(8000), redirect: "error" });
        if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
        draw(await answer.json());
        delay = POLL_MS;
      } catch (reason) {
        delay = Math.min(POLL_MAX_MS, delay * 2);
        root.querySelector(".live").classList.add("lost");
        root.querySelector(".updated").textContent = `update failed (${reason.message}), retrying in ${delay / 1000} s`;
      }
    }
    setTimeout(poll, delay);
  }

  // The panels stay and only what is in them is drawn anew: what was scrolled stays where it was.
  const places = panels.map(([kind, title, note, part, needs]) => ({
    section: el("section", { class: `panel ${kind}`, tabindex: "0", "aria-label": title }), title, note, part, needs,
  }));
  const big = places.filter(({ section }) => section.matches(".wide, .half, .tall")).map(({ section }) => section);
  const small = places.map(({ section }) => section).filter((section) => !big.includes(section));
  root.append(
    el("p", { class: "live" }, el("i", { "aria-hidden": "true" }), el("span", { class: "updated" })),
    el("div", { role: "status" }, el("ul", { class: "strip", "aria-label": "Condition" })),
    el("div", { class: "away", role: "alert" }), el("div", { class: "tiles" }),
    el("div", { class: "panels" }, ...big, el("div", { class: "stack" }, ...small)));
  draw(JSON.parse(document.getElementById("figures").textContent));
  setTimeout(poll, POLL_MS);
})();
