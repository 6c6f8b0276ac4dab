/* Why this number: its exact split, and how the model mixes its parts. */
function drawWhy() {
  const d = dom(), v = vari(), n = state.node, l = state.lead, N = nodeCount();
  const parts = d.parts.map((part, i) => ({ name: d.part_names[i], value: v.split[i][l * N + n], part }));
  const median = quant(MEDIAN, l, n);
  const moved = parts.filter((p) => p.part !== "anchor"), places = Math.min(6, v.places + 1);
  const widest = Math.max(...moved.map((p) => Math.abs(p.value)), 1e-12);
  $("why-sub").textContent = `${d.nodes[n]}, ${at(d.valid[l])}: the median splits exactly into these parts.`;
  const row = (p) => make("tr", {}, make("th", { scope: "row" }, p.name),
    cell(p.part === "anchor" ? fmt(p.value, places) : signed(p.value, places)),
    make("td", { class: "w" }, p.part === "anchor" ? make("span", { class: "quiet" }, v.anchor) : barOf(p.value, widest, p.name, places)));
  const sum = make("tr", { class: "pub" }, make("th", { scope: "row" }, "Forecast (median)"), cell(fmt(median, places)), make("td", { class: "w" }, v.unit));
  const anchors = parts.filter((p) => p.part === "anchor");
  const shown = v.model === "joint" ? moved : moved.filter((p) => p.value !== 0);
  $("split").replaceChildren(make("tbody", {}, ...anchors.map(row), ...shown.map(row), sum));
  $("split-note").textContent = v.model !== "joint"
    ? `Published here is the baseline “${modelName(v.model)}”: all of the number is its anchor.` : "";
  $("weights-title").textContent = v.model === "joint" ? "How the model weighs its parts here" : "How the joint model would weigh its parts here";
  drawWeights();
}
/* a bar to the right of the middle for more, to the left for less */
function barOf(value, widest, name, places) {
  const bar = make("div", { class: "track", role: "img", "aria-label": `${name} ${signed(value, places)}` });
  if (Math.abs(value) > 1e-12) {
    const i = make("i"), width = (48 * Math.abs(value)) / widest + "%";
    Object.assign(i.style, { width, background: css(value > 0 ? "--up" : "--down"), [value > 0 ? "left" : "right"]: "50%" });
    bar.append(i);
  }
  return bar;
}
function shareOf(label, x) {
  const stack = make("div", { class: "stack", role: "img", "aria-label": `${label}: series ${percent(x, 0)}, space ${percent(1 - x, 0)}` });
  const series = make("i"), space = make("i");
  Object.assign(series.style, { width: 100 * x + "%", background: css("--joint") });
  Object.assign(space.style, { width: 100 - 100 * x + "%", background: css("--b2") });
  stack.append(series, space);
  return make("div", {}, note(`${label}: its own series ${percent(x, 0)}, its neighbours in space ${percent(1 - x, 0)}`), stack);
}
function drawWeights() {
  const d = dom(), e = d.explain, host = $("weights");
  if (!e) return host.replaceChildren(note("The model left no weights to read."));
  const out = [];
  if (e.alpha) out.push(shareOf("α, inside the model, at this place", e.alpha[state.node]));
  if (e.beta) out.push(shareOf("β, in the output, at this place and lead", e.beta[state.lead * nodeCount() + state.node]));
  const names = Object.keys(e.w || {});
  if (names.length) out.push(note("w, how much each other input is let in, by lead (0: not at all)"), weightTable(d, e, names, host.clientWidth > 420));
  const v = vari(), off = Object.entries(e.off || {}).filter(([, of]) => of[v.name]);
  const said = (k, x) => `${e.names[k] || k} ${fmt(x, v.places + 1)}`;
  if (off.length) out.push(note(`Mean error on held-out windows: ${fmt(off[0][1][v.name][0], v.places + 1)} ${v.unit}; with one input out: ${off.map(([k, of]) => said(k, of[v.name][1])).join(", ")}`));
  host.replaceChildren(...out);
}
function weightTable(d, e, names, wide) {
  const largest = Math.max(...names.flatMap((k) => e.w[k].map(Math.abs))), peak = Math.max(largest, 0.02);
  const places = largest >= 0.1 ? 2 : largest >= 0.01 ? 3 : 4, every = Math.ceil(d.lead.length / (wide ? (places > 2 ? 6 : 8) : places > 2 ? 4 : 6));
  const leads = d.lead.map((_, i) => i).filter((i) => i % every === 0);
  const short = (text) => text.replace(" min", "′").replace(" h", "h").replace(" d", "d");
  const head = make("tr", {}, make("td", {}, ""), ...leads.map((i) => make("th", { scope: "col" }, short(span(e.lead_times[i])))));
  const body = names.map((k) => make("tr", {}, make("th", { scope: "row" }, e.names[k] || k), ...leads.map((i) => {
    const x = e.w[k][i], c = make("td", {}, fmt(x, places)), share = Math.round((45 * Math.abs(x)) / peak);
    c.style.background = `color-mix(in srgb, ${css(x < 0 ? "--down" : "--up")} ${share}%, transparent)`;
    return c;
  })));
  return make("div", { class: "scroll" }, make("table", { class: "cells" }, make("thead", {}, head), make("tbody", {}, ...body)));
}
