(() => {
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const state = { d: 0, v: 0, lead: 0, node: 0, mode: "value", metric: "mae" };
const MEDIAN = data.levels.indexOf(0.5);
const NS = "http://www.w3.org/2000/svg";
const NAMES = data.model_names;
const LINES = { joint: ["--joint", ""], persistence: ["--b1", "6 4"], historical_average: ["--b2", "2 3"], ridge: ["--b3", "9 3 2 3"], seasonal_persistence: ["--b1", "2 6"], boosted_trees: ["--b3", "1 4"] };

/* ---- small tools ---- */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const line = (model) => LINES[model] || ["--past", "1 3"];
function make(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) if (v !== null && v !== undefined) e.setAttribute(k, v);
  e.append(...children);
  return e;
}
function svg(tag, attributes, text) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}
function canvas(host, height, label) {
  const width = Math.max(260, host.clientWidth);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
  host.replaceChildren(root);
  return [root, width];
}
const dom = () => data.domains[state.d];
const vari = () => dom().variables[state.v];
const isNum = (x) => x !== null && x !== undefined && Number.isFinite(x);
function digits(spread) {
  if (!isNum(spread) || spread <= 0) return 2;
  return Math.max(0, Math.min(4, 2 - Math.floor(Math.log10(spread))));
}
const NUMBER = new Map();
function fmt(x, places) {
  if (!isNum(x)) return "–";
  if (!NUMBER.has(places)) NUMBER.set(places, new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
  return NUMBER.get(places).format(Math.abs(x) < 0.5 * 10 ** -places ? 0 : x).replace("-", "−");
}
const show = (x) => fmt(x, vari().places);
const withUnit = (x) => (isNum(x) ? show(x) + unit() : "no value");
const unit = () => (vari().unit ? " " + vari().unit : "");
const signed = (x, places) => (isNum(x) ? (x > 0 ? "+" : "") + fmt(x, places) : "–");
const zone = data.world.zone;
const clock = (o) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...o });
const FULL = clock({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const DAY = clock({ weekday: "short", day: "numeric", month: "short" });
const HM = clock({ hour: "2-digit", minute: "2-digit" });
const DM = clock({ day: "numeric", month: "short" });
const at = (s) => FULL.format(new Date(s * 1000));
function span(seconds) {
  const m = Math.round(seconds / 60);
  if (m < 60) return `${m} min`;
  const h = Math.floor(m / 60), rest = m % 60;
  if (h < 48) return rest ? `${h} h ${rest} min` : `${h} h`;
  const days = Math.floor(h / 24);
  return `${days} d${h % 24 ? ` ${h % 24} h` : ""}`;
}
const quant = (q, l, n) => vari().q[q][l * dom().nodes.length + n];
const last = (n) => vari().last[n];
function offset(seconds) {
  const p = Object.fromEntries(new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" }).formatToParts(new Date(seconds * 1000)).map((x) => [x.type, +x.value]));
  return Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute) / 1000 - Math.floor(seconds / 60) * 60;
}
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) found.push(Math.abs(t) < step * 1e-6 ? 0 : t);
  return [found, Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9) + (String(step / power).includes(".") ? 1 : 0)))];
}
function timeTicks(low, high, count) {
  const steps = [300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600, 604800, 1209600, 2592000, 7776000];
  const step = steps.find((s) => (high - low) / s <= count) || 31536000;
  const shift = offset(low), found = [];
  for (let t = Math.ceil((low + shift) / step) * step - shift; t <= high; t += step) found.push(t);
  return [found, (t) => (step >= 86400 || (t + shift) % 86400 === 0 ? DM : HM).format(new Date(t * 1000))];
}
const RAMP = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];
const DIVERGE_DARK = [[90, 165, 235], [70, 118, 158], [52, 78, 92], [46, 58, 55], [92, 70, 56], [178, 102, 62], [246, 140, 86]];
const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const DIVERGE = [[33, 102, 172], [103, 169, 207], [209, 229, 240], [247, 247, 247], [253, 219, 199], [239, 138, 98], [178, 24, 43]];
function ramp(stops, share) {
  const x = Math.max(0, Math.min(1, share)) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(x)), f = x - i;
  return `rgb(${stops[i].map((c, k) => Math.round(c + (stops[i + 1][k] - c) * f)).join(",")})`;
}
function sorted(values) { return values.filter(isNum).sort((a, b) => a - b); }
const pick = (s, share) => s[Math.min(s.length - 1, Math.max(0, Math.round(share * (s.length - 1))))];
function tip(event, text) {
  const box = $("tip");
  if (!text) { box.classList.remove("on"); return; }
  box.textContent = text;
  box.classList.add("on");
  const r = box.getBoundingClientRect();
  box.style.left = Math.min(innerWidth - r.width - 8, Math.max(8, event.clientX + 14)) + "px";
  box.style.top = Math.max(8, event.clientY - r.height - 12) + "px";
}

/* ---- the map ---- */
function mapValue(n, l) {
  const x = quant(MEDIAN, l, n);
  if (state.mode === "value") return x;
  const from = last(n);
  if (!isNum(from)) return null;
  return vari().relative ? (from ? 100 * (x / from - 1) : null) : x - from;
}
const mapUnit = () => (state.mode === "change" && vari().relative ? " %" : unit());
function scaleOf() {
  const d = dom(), all = [];
  for (let l = 0; l < d.lead.length; l++) for (let n = 0; n < d.nodes.length; n++) { const x = mapValue(n, l); if (isNum(x)) all.push(x); }
  const s = sorted(all);
  if (!s.length) return { low: 0, high: 1, none: true };
  if (state.mode === "change") { const m = Math.max(Math.abs(pick(s, 0.02)), Math.abs(pick(s, 0.98)), 1e-9); return { low: -m, high: m, stops: dark() ? DIVERGE_DARK : DIVERGE, still: m < 1e-6 }; }
  let low = pick(s, 0.02), high = pick(s, 0.98);
  if (high <= low) { low = s[0]; high = s[s.length - 1]; }
  if (high <= low) high = low + 1;
  return { low, high, stops: RAMP };
}
let painted = null;
function layout(d, width) {
  const known = d.nodes.map((_, n) => n).filter((n) => isNum(d.lat[n]) && isNum(d.lon[n]));
  if (d.grid) {
    const [rows, columns] = d.grid, size = Math.min(width / columns, 420 / rows), southFirst = d.lat[0] < d.lat[d.nodes.length - 1];
    return { kind: "grid", height: size * rows, place: (n) => [(n % columns) * size, (southFirst ? rows - 1 - Math.floor(n / columns) : Math.floor(n / columns)) * size], size, left: (width - size * columns) / 2 };
  }
  if (known.length < 3) {
    const count = d.nodes.length, columns = Math.max(1, Math.min(count, Math.floor(width / Math.max(13, Math.min(150, Math.sqrt((width * 330) / count))))));
    const size = Math.min(150, width / columns);
    return { kind: "tiles", height: Math.max(size, Math.ceil(count / columns) * size), place: (n) => [(n % columns) * size, Math.floor(n / columns) * size], size, left: (width - size * columns) / 2 };
  }
  const points = known.flatMap((n) => [[d.lat[n], d.lon[n]], ...(d.ends ? [[d.ends[n][0], d.ends[n][1]], [d.ends[n][2], d.ends[n][3]]] : [])]).filter((p) => isNum(p[0]) && isNum(p[1]));
  const lats = points.map((p) => p[0]), lons = points.map((p) => p[1]);
  const mid = (Math.min(...lats) + Math.max(...lats)) / 2, cos = Math.cos((mid * Math.PI) / 180);
  const w = Math.max(1e-6, (Math.max(...lons) - Math.min(...lons)) * cos), h = Math.max(1e-6, Math.max(...lats) - Math.min(...lats));
  const height = Math.max(260, Math.min(460, (width * h) / w)), pad = 16, k = Math.min((width - 2 * pad) / w, (height - 2 * pad) / h);
  const left = (width - k * w) / 2, top = (height - k * h) / 2;
  const project = (lat, lon) => [left + (lon - Math.min(...lons)) * cos * k, top + (Math.max(...lats) - lat) * k];
  const x0 = Math.min(...lons), y0 = Math.max(...lats);
  const quick = (lat, lon) => [left + (lon - x0) * cos * k, top + (y0 - lat) * k];
  return { kind: "map", height, place: (n) => quick(d.lat[n], d.lon[n]), project: quick, perDegree: k, known };
}
function drawMap() {
  const d = dom(), host = $("map");
  const [root, width] = canvas(host, 10, "");
  const plan = layout(d, width);
  root.setAttribute("viewBox", `0 0 ${width} ${plan.height}`);
  root.setAttribute("height", plan.height);
  const marks = [];
  d.nodes.forEach((name, n) => {
    if (plan.kind === "map" && !plan.known.includes(n)) { marks.push(null); return; }
    const [x, y] = plan.place(n);
    let mark;
    if (plan.kind !== "map") {
      const gap = plan.kind === "tiles" ? Math.min(2, plan.size / 8) : 0.3;
      mark = svg("rect", { x: plan.left + x + gap / 2, y: y + gap / 2, width: plan.size - gap, height: plan.size - gap, rx: plan.kind === "tiles" ? 3 : 0 });
    } else if (d.ends && d.ends[n].every(isNum)) {
      const [x1, y1] = plan.project(d.ends[n][0], d.ends[n][1]), [x2, y2] = plan.project(d.ends[n][2], d.ends[n][3]);
      mark = svg("line", { x1, y1, x2: x1 === x2 && y1 === y2 ? x2 + 0.1 : x2, y2, "stroke-width": d.nodes.length > 150 ? 3.2 : 5, "stroke-linecap": "round" });
    } else mark = svg("circle", { cx: x, cy: y, r: d.nodes.length > 150 ? 4 : 8, stroke: css("--card"), "stroke-width": 1 });
    mark.classList.add("node");
    mark.dataset.n = n;
    root.append(mark);
    marks.push(mark);
  });
  if (plan.kind === "tiles" && plan.size >= 44) d.nodes.forEach((name, n) => {
    const [x, y] = plan.place(n);
    const middle = { x: plan.left + x + plan.size / 2, "text-anchor": "middle", "pointer-events": "none", "data-label": n };
    root.append(svg("text", { ...middle, y: y + plan.size / 2 - 3 }, name.slice(0, Math.floor(plan.size / 7))), svg("text", { ...middle, y: y + plan.size / 2 + 13, "font-weight": 600, "data-number": n }, ""));
  });
  if (plan.kind === "map" && d.nodes.length <= 40) plan.known.forEach((n) => {
    const [x, y] = plan.place(n);
    root.append(svg("text", { x: x > width - 90 ? x - 12 : x + 12, y: y + 4, "text-anchor": x > width - 90 ? "end" : "start", "pointer-events": "none" }, d.nodes[n]));
  });
  if (plan.kind === "map") {
    const km = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].filter((x) => (x / 111.2) * plan.perDegree < width / 4).pop() || 0.1;
    const w = (km / 111.2) * plan.perDegree;
    root.append(svg("path", { d: `M8 ${plan.height - 12}v4h${w}v-4`, fill: "none", stroke: css("--quiet") }), svg("text", { x: 8, y: plan.height - 17 }, km < 1 ? `${km * 1000} m` : `${km} km`));
  }
  const ring = svg(plan.kind === "map" ? "circle" : "rect", { fill: "none", stroke: css("--ink"), "stroke-width": 2.5, "pointer-events": "none" });
  root.append(ring);
  const nearest = (event) => {
    const box = root.getBoundingClientRect(), px = ((event.clientX - box.left) * width) / box.width, py = ((event.clientY - box.top) * plan.height) / box.height;
    let best = -1, distance = plan.kind === "map" ? 400 : 1e12;
    marks.forEach((mark, n) => {
      if (!mark) return;
      let [x, y] = plan.place(n);
      if (plan.kind !== "map") { x += plan.left + plan.size / 2; y += plan.size / 2; }
      else if (mark.tagName === "line") { x = (+mark.getAttribute("x1") + +mark.getAttribute("x2")) / 2; y = (+mark.getAttribute("y1") + +mark.getAttribute("y2")) / 2; if (event.target === mark) { best = n; distance = -1; } }
      const away = (x - px) ** 2 + (y - py) ** 2;
      if (away < distance) { distance = away; best = n; }
    });
    return best;
  };
  root.addEventListener("click", (e) => { const n = nearest(e); if (n >= 0) select({ node: n }); });
  root.addEventListener("pointermove", (e) => { const n = nearest(e); tip(e, n < 0 ? "" : `${d.nodes[n]}\n${mapText(n)}`); });
  root.addEventListener("pointerleave", () => tip(null, ""));
  painted = { root, marks, ring, plan, scale: scaleOf() };
  paintMap();
}
function mapText(n) {
  const x = mapValue(n, state.lead), band = `80 % band ${show(quant(1, state.lead, n))} to ${show(quant(data.levels.length - 2, state.lead, n))}`;
  const places = state.mode === "change" && vari().relative ? 2 : vari().places;
  return (state.mode === "change" ? `${signed(x, places)}${mapUnit()} since the last value` : withUnit(x)) + "\n" + band;
}
function paintMap() {
  const d = dom(), { marks, ring, plan, scale, root } = painted, none = css("--nodata");
  marks.forEach((mark, n) => {
    if (!mark) return;
    const x = mapValue(n, state.lead), share = (x - scale.low) / (scale.high - scale.low);
    const colour = isNum(x) && !scale.none ? ramp(scale.stops, share) : none;
    mark.setAttribute(mark.tagName === "line" ? "stroke" : "fill", colour);
    if (plan.kind === "tiles" && plan.size >= 44) for (const label of root.querySelectorAll(`[data-label="${n}"]`)) {
      label.style.fill = state.mode === "change" && dark() ? "#fff" : (state.mode === "value" ? share > 0.5 : share > 0.2 && share < 0.8) || !isNum(x) ? "#111" : "#fff";
      if (label.dataset.number) label.textContent = (state.mode === "change" ? signed(x, vari().relative ? 1 : vari().places) : show(x)) + mapUnit();
    }
  });
  const mark = marks[state.node];
  ring.style.display = mark ? "" : "none";
  if (mark) {
    let [x, y] = plan.place(state.node);
    if (plan.kind === "map") {
      if (mark.tagName === "line") { x = (+mark.getAttribute("x1") + +mark.getAttribute("x2")) / 2; y = (+mark.getAttribute("y1") + +mark.getAttribute("y2")) / 2; }
      ring.setAttribute("cx", x); ring.setAttribute("cy", y); ring.setAttribute("r", 11);
    } else for (const [k, v] of Object.entries({ x: plan.left + x, y, width: plan.size, height: plan.size, rx: 3 })) ring.setAttribute(k, v);
  }
  const places = state.mode === "change" && vari().relative ? 1 : vari().places, l = state.lead;
  const bar = make("span", { class: "ramp" });
  bar.style.background = scale.none ? none : `linear-gradient(90deg,${scale.stops.map((c) => `rgb(${c})`).join(",")})`;
  $("legend").replaceChildren(make("span", {}, (state.mode === "change" ? signed(scale.low, places) : "≤ " + fmt(scale.low, places)) + mapUnit()), bar, make("span", {}, (state.mode === "change" ? signed(scale.high, places) : "≥ " + fmt(scale.high, places)) + mapUnit()));
  painted.root.setAttribute("aria-label", `${d.title}: ${vari().label}, ${data.domains[state.d].nodes.length} places, forecast for ${at(d.valid[l])}. Selected ${d.nodes[state.node]}: ${mapText(state.node).replace("\n", ", ")}.`);
  const where = plan.kind === "tiles" ? "Places without a map position, as tiles" : plan.kind === "grid" ? "Cells of the grid" : "North is up";
  $("map-sub").textContent = `${vari().label}, ${state.mode === "change" ? "change of the forecast median since each place's last value" : "forecast median"}. ${scale.still ? "No change is forecast. " : ""}${d.nodes.length === 1 ? "One place." : where + "; click one."}`;
  $("lead-text").textContent = `${at(d.valid[l])}, ${span(d.lead[l])} ahead`;
}

/* ---- the fan ---- */
function drawFan() {
  const d = dom(), v = vari(), n = state.node, N = d.nodes.length, host = $("fan");
  const [root, width] = canvas(host, 310, "");
  const height = 310, pad = { l: 52, r: 14, t: 12, b: 28 };
  const past = d.past.map((t, i) => [t, v.past[i * N + n]]), q = data.levels.map((_, k) => d.valid.map((t, l) => [t, quant(k, l, n)]));
  const came = v.came ? d.valid.map((t, l) => [t, v.came[l * N + n]]).filter((p) => isNum(p[1])) : [];
  const shown = [...past.map((p) => p[1]), ...q.flat().map((p) => p[1]), ...came.map((p) => p[1])].filter(isNum);
  let low = Math.min(...shown), high = Math.max(...shown);
  const room = (high - low || Math.abs(high) || 1) * 0.07;
  low = low >= 0 && low - room < 0 ? 0 : low - room; high += room;
  const t0 = Math.min(past.length ? past[0][0] : data.issue_time, data.issue_time), t1 = d.valid[d.valid.length - 1];
  const X = (t) => pad.l + ((t - t0) / (t1 - t0 || 1)) * (width - pad.l - pad.r), Y = (y) => pad.t + (1 - (y - low) / (high - low)) * (height - pad.t - pad.b);
  const [yt, places] = ticks(low, high, 5);
  yt.forEach((y) => root.append(svg("line", { x1: pad.l, x2: width - pad.r, y1: Y(y), y2: Y(y), stroke: css("--grid") }), svg("text", { x: pad.l - 8, y: Y(y) + 4, "text-anchor": "end" }, fmt(y, places))));
  const [xt, label] = timeTicks(t0, t1, Math.max(3, Math.floor(width / 85)));
  xt.forEach((t) => root.append(svg("line", { x1: X(t), x2: X(t), y1: height - pad.b, y2: height - pad.b + 4, stroke: css("--quiet") }), svg("text", { x: Math.min(width - 16, X(t)), y: height - 9, "text-anchor": "middle" }, label(t))));
  const path = (points) => { let pen = false; return points.map(([t, y]) => { if (!isNum(y)) { pen = false; return ""; } const s = `${pen ? "L" : "M"}${X(t).toFixed(1)} ${Y(y).toFixed(1)}`; pen = true; return s; }).join(""); };
  const seen = past.filter((p) => isNum(p[1])), start = seen.length ? [seen[seen.length - 1]] : [];
  const near = start.length && d.valid[0] - start[0][0] <= 3 * d.step ? start : [];
  for (const [k, fill] of [[0, "--fan1"], [1, "--fan2"], [2, "--fan3"]]) {
    const a = [...near, ...q[k]], b = [...near, ...q[data.levels.length - 1 - k]].reverse();
    root.append(svg("path", { d: path(a) + path(b).replace("M", "L") + "Z", fill: css(fill) }));
  }
  root.append(svg("line", { x1: X(data.issue_time), x2: X(data.issue_time), y1: pad.t, y2: height - pad.b, stroke: css("--quiet"), "stroke-dasharray": "3 3" }), svg("text", { x: X(data.issue_time) - 5, y: pad.t + 9, "text-anchor": "end" }, "issued"));
  root.append(svg("path", { d: path(past), fill: "none", stroke: css("--past"), "stroke-width": 1.8 }));
  if (past.length <= 60) past.forEach(([t, y], i) => { if (isNum(y)) root.append(svg("circle", { cx: X(t), cy: Y(y), r: (past[i - 1] && isNum(past[i - 1][1])) || (past[i + 1] && isNum(past[i + 1][1])) ? 1.9 : 3, fill: css("--past") })); });
  root.append(svg("path", { d: path([...near, ...q[MEDIAN]]), fill: "none", stroke: css("--joint"), "stroke-width": 2.6 }));
  came.forEach(([t, y]) => root.append(svg("circle", { cx: X(t), cy: Y(y), r: 4.2, fill: css("--came"), stroke: css("--card"), "stroke-width": 1.5 })));
  const lt = d.valid[state.lead];
  root.append(svg("line", { x1: X(lt), x2: X(lt), y1: pad.t, y2: height - pad.b, stroke: css("--ink"), "stroke-opacity": 0.35 }), svg("circle", { cx: X(lt), cy: Y(quant(MEDIAN, state.lead, n)), r: 5, fill: css("--card"), stroke: css("--joint"), "stroke-width": 2.6 }));
  root.addEventListener("pointermove", (e) => {
    const box = root.getBoundingClientRect(), t = t0 + ((((e.clientX - box.left) * width) / box.width - pad.l) / (width - pad.l - pad.r)) * (t1 - t0);
    const closest = (list) => list.reduce((best, p, i) => (Math.abs(p - t) < Math.abs(list[best] - t) ? i : best), 0);
    if (t > (start.length ? (start[0][0] + d.valid[0]) / 2 : data.issue_time)) {
      const l = closest(d.valid), c = v.came ? v.came[l * N + n] : null;
      tip(e, `${at(d.valid[l])}\nmedian ${withUnit(quant(MEDIAN, l, n))}\n80 % band ${show(quant(1, l, n))} to ${show(quant(data.levels.length - 2, l, n))}` + (isNum(c) ? `\ncame ${withUnit(c)}` : ""));
    } else { const i = closest(d.past); tip(e, `${at(d.past[i])}\nobserved ${withUnit(v.past[i * N + n])}`); }
  });
  root.addEventListener("pointerleave", () => tip(null, ""));
  root.addEventListener("click", (e) => {
    const box = root.getBoundingClientRect(), t = t0 + ((((e.clientX - box.left) * width) / box.width - pad.l) / (width - pad.l - pad.r)) * (t1 - t0);
    if (t > data.issue_time) select({ lead: d.valid.reduce((best, p, i) => (Math.abs(p - t) < Math.abs(d.valid[best] - t) ? i : best), 0) });
  });
  root.setAttribute("aria-label", `${v.label} at ${d.nodes[n]}: last value ${withUnit(last(n))}; forecast for ${at(lt)} ${withUnit(quant(MEDIAN, state.lead, n))}, 80 % band ${show(quant(1, state.lead, n))} to ${show(quant(data.levels.length - 2, state.lead, n))}.`);
  $("fan-sub").textContent = `${v.label}${v.unit ? ", " + v.unit : ""} at ${d.nodes[n]}. Published model: ${NAMES[v.model] || v.model}.`;
  const key = (cls, style, text) => { const i = make("i", { class: cls }); Object.assign(i.style, style); return make("span", {}, i, text); };
  $("fan-key").replaceChildren(key("line", { borderColor: css("--past") }, "observed"), key("line", { borderColor: css("--joint") }, "median"), key("", { background: css("--fan3"), outline: "1px solid " + css("--fan3") }, "50 %"), key("", { background: css("--fan2") }, "80 %"), key("", { background: css("--fan1") }, "90 % of outcomes"), ...(came.length ? [key("dot", { background: css("--came") }, "what came")] : []));
  const inside = came.filter(([t, y]) => { const l = d.valid.indexOf(t); return y >= quant(1, l, n) && y <= quant(data.levels.length - 2, l, n); }).length;
  const error = came.reduce((s, [t, y]) => s + Math.abs(y - quant(MEDIAN, d.valid.indexOf(t), n)), 0) / (came.length || 1);
  $("came").textContent = came.length
    ? `What came: ${came.length} of ${d.valid.length} leads observed here so far; ${inside} inside the 80 % band; mean error of the median ${withUnit(error)}.`
    : v.came ? "What came: nothing good was observed at this place yet." : "What came: not verified yet. The page is renewed when observations arrive.";
  const head = make("tr", {}, ...["Time", "Ahead", "5 %", "10 %", "25 %", "Median", "75 %", "90 %", "95 %", "Came"].map((t, i) => make("th", { scope: "col", class: i > 1 ? "num" : null }, t)));
  const rows = d.valid.map((t, l) => make("tr", { class: l === state.lead ? "here" : null }, make("th", { scope: "row" }, at(t)), make("td", {}, span(d.lead[l])), ...data.levels.map((_, k) => make("td", { class: "num" }, show(quant(k, l, n)))), make("td", { class: "num" }, v.came ? show(v.came[l * N + n]) : "–")));
  $("numbers").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

/* ---- skill ---- */
const METRICS = { mae: "Mean error", rmse: "RMSE", pinball: "Pinball", coverage_80: "Coverage" };
function drawSkill() {
  const d = dom(), v = vari(), s = v.scores, host = $("skill");
  for (const id of ["skill-key", "skill-table", "lead-table", "verified"]) $(id).replaceChildren();
  if (!s || !s.models.length) { host.replaceChildren(make("p", { class: "note" }, "Not evaluated yet.")); $("skill-sub").textContent = ""; return; }
  const m = state.metric, cover = m === "coverage_80", height = 230, pad = { l: 52, r: 14, t: 12, b: 30 };
  const [root, width] = canvas(host, height, "");
  const values = s.models.flatMap((k) => s.leads[k].map((r) => r[m])).filter(isNum);
  if (!values.length) { host.replaceChildren(make("p", { class: "note" }, "No observation on the held-out days.")); return; }
  let low = Math.min(...values, ...(cover ? [0.8] : [])), high = Math.max(...values, ...(cover ? [0.8] : []));
  const room = (high - low || high || 1) * 0.1; low = Math.max(0, low - room); high += room;
  const L = d.lead.length, X = (l) => pad.l + (L === 1 ? 0.5 : l / (L - 1)) * (width - pad.l - pad.r), Y = (y) => pad.t + (1 - (y - low) / (high - low)) * (height - pad.t - pad.b);
  const [yt, places] = ticks(low, high, 4);
  yt.forEach((y) => root.append(svg("line", { x1: pad.l, x2: width - pad.r, y1: Y(y), y2: Y(y), stroke: css("--grid") }), svg("text", { x: pad.l - 8, y: Y(y) + 4, "text-anchor": "end" }, cover ? fmt(100 * y, 0) + " %" : fmt(y, places))));
  const every = Math.ceil(L / Math.max(2, Math.floor(width / 80)));
  for (let l = 0; l < L; l += every) root.append(svg("text", { x: X(l), y: height - 9, "text-anchor": l === 0 ? "start" : l === L - 1 ? "end" : "middle" }, span(s.lead_times[l])));
  if (cover) root.append(svg("line", { x1: pad.l, x2: width - pad.r, y1: Y(0.8), y2: Y(0.8), stroke: css("--ink"), "stroke-dasharray": "2 4" }));
  [...s.models].reverse().forEach((k) => {
    const [colour, dash] = line(k), points = s.leads[k].map((r, l) => [X(l), isNum(r[m]) ? Y(r[m]) : null]).filter((p) => p[1] !== null);
    root.append(svg("path", { d: points.map((p, i) => `${i ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join(""), fill: "none", stroke: css(colour), "stroke-width": k === "joint" ? 3 : 1.9, "stroke-dasharray": dash }));
    if (L <= 12) points.forEach((p) => root.append(svg("circle", { cx: p[0], cy: p[1], r: k === "joint" ? 3.4 : 2.4, fill: css(colour) })));
  });
  root.addEventListener("pointermove", (e) => {
    const box = root.getBoundingClientRect(), x = ((e.clientX - box.left) * width) / box.width;
    const l = Math.max(0, Math.min(L - 1, Math.round(((x - pad.l) / (width - pad.l - pad.r)) * (L - 1))));
    tip(e, `${span(s.lead_times[l])} ahead\n` + s.models.map((k) => `${NAMES[k] || k}: ${cover ? fmt(100 * s.leads[k][l][m], 1) + " %" : fmt(s.leads[k][l][m], v.score_places)}`).join("\n"));
  });
  root.addEventListener("pointerleave", () => tip(null, ""));
  root.setAttribute("aria-label", `${METRICS[m]} by lead for ${s.models.map((k) => NAMES[k] || k).join(", ")}; the table below holds the numbers.`);
  $("skill-key").replaceChildren(...s.models.map((k) => { const g = svg("svg", { width: 26, height: 8, viewBox: "0 0 26 8", "aria-hidden": "true" }); g.append(svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: css(line(k)[0]), "stroke-width": k === "joint" ? 3 : 2, "stroke-dasharray": line(k)[1] })); return make("span", {}, g, NAMES[k] || k); }), ...(cover ? [make("span", {}, "dotted: the 80 % that is aimed at")] : []));
  $("skill-sub").textContent = s.sentence;
  const skill = (a, b) => (isNum(a) && b > 0 ? (100 * (b - a)) / b : null);
  const cells = (r, k, base) => [r.mae, r.rmse, r.pinball].map((x) => make("td", { class: "num" }, fmt(x, v.score_places))).concat([make("td", { class: "num" }, isNum(r.coverage_80) ? fmt(100 * r.coverage_80, 1) + " %" : "–"), make("td", { class: "num" }, k === "joint" ? "" : isNum(skill(base.mae, r.mae)) ? signed(skill(base.mae, r.mae), 1) + " %" : "–")]);
  const heads = (first) => make("thead", {}, make("tr", {}, ...first.map((t) => make("th", { scope: "col" }, t)), ...["Mean error", "RMSE", "Pinball", "In 80 % band", "Joint saves"].map((t) => make("th", { scope: "col", class: "num" }, t))));
  const base = s.all.joint || {};
  $("skill-table").replaceChildren(heads(["All leads"]), make("tbody", {}, ...s.models.map((k) => make("tr", { class: k === v.model ? "pub" : null }, make("th", { scope: "row" }, (NAMES[k] || k) + (k === v.model ? " · published" : "")), ...cells(s.all[k], k, base)))));
  $("lead-table").replaceChildren(heads(["Lead", "Model"]), make("tbody", {}, ...s.lead_times.flatMap((t, l) => s.models.map((k, i) => make("tr", {}, make("th", { scope: "row" }, i ? "" : span(t)), make("td", {}, NAMES[k] || k), ...cells(s.leads[k][l], k, s.leads.joint ? s.leads.joint[l] : {}))))));
  drawVerified();
}
function drawVerified() {
  const v = vari(), w = v.verified, host = $("verified");
  const title = make("h3", {}, "Since publication");
  if (!w) { host.replaceChildren(title, make("p", { class: "note" }, "Not verified yet: no published forecast of this target has been compared with observations.")); return; }
  host.replaceChildren(title, make("p", { class: "note" }, w.sentence), make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...["Model", "Mean error", "RMSE", "In 80 % band", "Cases"].map((t, i) => make("th", { scope: "col", class: i ? "num" : null }, t)))),
    make("tbody", {}, ...w.rows.map((r) => make("tr", { class: r.model === "published" ? "pub" : null }, make("th", { scope: "row" }, NAMES[r.model] || r.model), make("td", { class: "num" }, fmt(r.mae, v.score_places)), make("td", { class: "num" }, fmt(r.rmse, v.score_places)), make("td", { class: "num" }, isNum(r.coverage_80) ? fmt(100 * r.coverage_80, 1) + " %" : "–"), make("td", { class: "num" }, fmt(r.n, 0))))))));
}

/* ---- why this number ---- */
function drawWhy() {
  const d = dom(), v = vari(), n = state.node, l = state.lead, N = d.nodes.length;
  const parts = d.parts.map((p, i) => [d.part_names[i], v.split[i][l * N + n], p]);
  const total = parts.reduce((s, p) => s + p[1], 0), median = quant(MEDIAN, l, n), moved = parts.filter((p) => p[2] !== "anchor");
  const widest = Math.max(...moved.map((p) => Math.abs(p[1])), 1e-12), places = Math.min(6, v.places + 1);
  $("why-sub").textContent = `${d.nodes[n]}, ${at(d.valid[l])}: the median splits exactly into these parts.`;
  const row = ([name, value, part]) => {
    const bar = make("div", { class: "track", role: "img", "aria-label": `${name} ${signed(value, places)}` });
    if (part !== "anchor" && Math.abs(value) > 1e-12) { const i = make("i"), w = (48 * Math.abs(value)) / widest; Object.assign(i.style, { width: w + "%", background: css(value > 0 ? "--up" : "--down"), [value > 0 ? "left" : "right"]: "50%" }); bar.append(i); }
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "num" }, part === "anchor" ? fmt(value, places) : signed(value, places)), make("td", { class: "w" }, part === "anchor" ? make("span", { class: "quiet" }, v.anchor) : bar));
  };
  $("split").replaceChildren(make("tbody", {}, ...parts.filter((p) => p[2] === "anchor").map(row), ...moved.map(row), make("tr", { class: "pub" }, make("th", { scope: "row" }, "Forecast (median)"), make("td", { class: "num" }, fmt(median, places)), make("td", { class: "w" }, v.unit))));
  const cut = Math.abs(total - median) > 1e-3 * Math.max(1, Math.abs(median));
  $("split-note").textContent = v.model !== "joint" ? `Published here is the baseline “${NAMES[v.model] || v.model}”: all of the number is its anchor.` : cut ? `The parts add up to ${fmt(total, places)}; the median is kept within the variable's bounds.` : "";
  const e = d.explain, host = $("weights"), wide = host.clientWidth > 420;
  if (!e) { host.replaceChildren(make("p", { class: "note" }, "The model left no weights to read.")); return; }
  const out = [], share = (label, x) => {
    const stack = make("div", { class: "stack", role: "img", "aria-label": `${label}: series ${fmt(100 * x, 0)} %, space ${fmt(100 - 100 * x, 0)} %` }), a = make("i"), b = make("i");
    Object.assign(a.style, { width: 100 * x + "%", background: css("--joint") }); Object.assign(b.style, { width: 100 - 100 * x + "%", background: css("--b2") });
    stack.append(a, b);
    return make("div", {}, make("div", { class: "note" }, `${label}: its own series ${fmt(100 * x, 0)} %, its neighbours in space ${fmt(100 - 100 * x, 0)} %`), stack);
  };
  if (e.alpha) out.push(share("α, inside the model, at this place", e.alpha[n]));
  if (e.beta) out.push(share("β, in the output, at this place and lead", e.beta[l * N + n]));
  const names = Object.keys(e.w || {});
  if (names.length) {
    const peak = Math.max(...names.flatMap((k) => e.w[k].map(Math.abs)), 0.02), every = Math.ceil(d.lead.length / (wide ? 8 : 6)), leads = d.lead.map((_, i) => i).filter((i) => i % every === 0);
    const head = make("tr", {}, make("th", {}, ""), ...leads.map((i) => make("th", { scope: "col" }, span(e.lead_times[i]).replace(" min", "′").replace(" h", "h").replace(" d", "d"))));
    const body = names.map((k) => make("tr", {}, make("th", { scope: "row" }, e.names[k] || k), ...leads.map((i) => { const x = e.w[k][i], c = make("td", {}, fmt(x, 2)); c.style.background = `color-mix(in srgb, ${css(x < 0 ? "--down" : "--up")} ${Math.round((45 * Math.abs(x)) / peak)}%, transparent)`; return c; })));
    out.push(make("div", { class: "note" }, "w, how much each other domain is let in, by lead (0: not at all)"), make("div", { class: "scroll" }, make("table", { class: "cells" }, make("thead", {}, head), make("tbody", {}, ...body))));
  }
  host.replaceChildren(...out);
}

/* ---- choosing ---- */
function fillDomain() {
  const d = dom();
  $("variables").replaceChildren(...d.variables.map((v, i) => { const b = make("button", { type: "button", "aria-pressed": i === state.v }, v.label); b.addEventListener("click", () => select({ v: i })); return b; }));
  $("node").replaceChildren(...d.nodes.map((name, n) => make("option", { value: n }, name)));
  $("lead").max = d.lead.length - 1;
  $("metrics").replaceChildren(...Object.entries(METRICS).map(([k, t]) => { const b = make("button", { type: "button", "aria-pressed": k === state.metric, "data-metric": k }, t); b.addEventListener("click", () => { state.metric = k; press("metrics", "metric", k); drawSkill(); }); return b; }));
}
function press(group, key, value) { for (const b of $(group).children) b.setAttribute("aria-pressed", b.dataset[key] === String(value)); }
function select(change) {
  const fresh = "d" in change, other = fresh || "v" in change;
  Object.assign(state, change);
  if (fresh) {
    state.v = 0; state.node = dom().first; state.lead = 0;
    state.mode = vari().relative ? "change" : "value";
    [...$("domains").children].forEach((b, i) => { b.setAttribute("aria-selected", i === state.d); b.tabIndex = i === state.d ? 0 : -1; });
    fillDomain();
  }
  if (other) { [...$("variables").children].forEach((b, i) => b.setAttribute("aria-pressed", i === state.v)); press("modes", "mode", state.mode); }
  $("node").value = state.node;
  $("lead").value = state.lead;
  $("lead").setAttribute("aria-valuetext", `${at(dom().valid[state.lead])}, ${span(dom().lead[state.lead])} ahead`);
  if (other) { drawMap(); drawSkill(); } else paintMap();
  drawFan();
  drawWhy();
}
function redraw() { drawMap(); drawFan(); drawSkill(); drawWhy(); }
if (!data.domains.length) { document.querySelectorAll("main > .bar, main > .grid")[0].remove(); return; }
$("domains").replaceChildren(...data.domains.map((d, i) => { const b = make("button", { type: "button", role: "tab", "aria-selected": i === 0, "aria-controls": "forecast", id: "tab-" + d.name }, d.title); b.addEventListener("click", () => select({ d: i })); return b; }));
$("domains").addEventListener("keydown", (e) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
  if (!step) return;
  const i = (state.d + step + data.domains.length) % data.domains.length;
  select({ d: i });
  $("domains").children[i].focus();
});
for (const b of $("modes").children) b.addEventListener("click", () => { state.mode = b.dataset.mode; press("modes", "mode", state.mode); painted.scale = scaleOf(); paintMap(); });
$("lead").addEventListener("input", (e) => select({ lead: +e.target.value }));
$("node").addEventListener("change", (e) => select({ node: +e.target.value }));
$("map").addEventListener("keydown", (e) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key], N = dom().nodes.length;
  if (!step) return;
  e.preventDefault();
  select({ node: (state.node + step + N) % N });
});
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
select({ d: 0 });
document.documentElement.dataset.ready = "yes";
})();
