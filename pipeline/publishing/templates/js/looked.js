/* What the model looked at for the largest changes: what happens to the number when an input is hidden, and its attention. */
function changesHere() {
  const looked = dom().looked;
  return looked ? looked.changes.filter((c) => c.v === state.v) : [];
}
function drawLooked() {
  const d = dom(), found = changesHere(), host = $("looked");
  for (const id of ["looked-map", "looked-time", "looked-others", "looked-pick"]) $(id).replaceChildren();
  host.hidden = !found.length;
  $("looked-none").hidden = !!found.length;
  $("looked-card").classList.toggle("slim", !found.length);
  if (!found.length) {
    $("looked-none").textContent = vari().model === "joint"
      ? "Nobody looked: this forecast carries no occlusion or attention for this variable."
      : `Published here is the baseline “${modelName(vari().model)}”: its inputs are not hidden in turn, and it has no attention.`;
    return;
  }
  const c = found[Math.min(state.change, found.length - 1)], v = vari();
  $("looked-pick").replaceChildren(...found.map((other, i) => {
    const moved = signed(v.q[MEDIAN][other.l * nodeCount() + other.n] - other.last, v.places) + unit();
    return chosen(`${d.nodes[other.n]} ${moved}`, other === c, {}, () => select({ change: i, node: other.n, lead: other.l }));
  }));
  const median = v.q[MEDIAN][c.l * nodeCount() + c.n];
  $("looked-sub").textContent = `${d.nodes[c.n]}, ${span(d.lead[c.l])} ahead: ${withUnit(c.last)} now, ${withUnit(median)} foretold. ` +
    "Each input was hidden in turn, and the forecast made again.";
  drawHiddenPlaces(d, c);
  drawHiddenTime(d, c);
  drawHiddenOthers(d, c);
}
function drawHiddenPlaces(d, c) {
  const host = $("looked-map"), looked = d.looked, asked = new Map(c.asked_nodes);
  if (!c.space.length && !asked.size) return host.replaceChildren(note("This model does not look at other places."));
  const plot = make("div", { class: "plot" });
  host.replaceChildren(make("h3", {}, "Where"), plot);
  const [root, width] = canvas(plot, 10, ""), plan = layout(d, width, 300), marks = marksOf(root, d, plan);
  root.setAttribute("viewBox", `0 0 ${width} ${plan.height}`);
  root.setAttribute("height", plan.height);
  const most = Math.max(...c.space.map(Math.abs), 1e-12), top = Math.max(...asked.values(), 1e-12);
  const effect = (n) => (looked.region[n] >= 0 ? c.space[looked.region[n]] : null);
  marks.forEach((mark, n) => {
    if (!mark) return;
    const x = c.space.length ? effect(n) : null;
    const shade = c.space.length ? (isNum(x) ? colour(diverging(), 0.5 + x / (2 * most)) : css("--nodata")) : colour(ramp(), (asked.get(n) || 0) / top);
    fill(mark, shade);
    if (!asked.has(n)) return;
    const share = Math.sqrt(asked.get(n) / top);
    if (plan.kind !== "map") root.append(dotIn(mark, share));
    else if (mark.tagName === "circle") mark.setAttribute("r", 4 + 7 * share);
    else mark.setAttribute("stroke-width", 4 + 7 * share);
  });
  const ring = ringOf(plan);
  root.append(ring);
  ringAround(ring, marks[c.n], plan, c.n);
  root.addEventListener("pointermove", (e) => {
    const n = nearestNode(e, root, plan, marks, width);
    if (n < 0) return tip(e, "");
    const hidden = isNum(effect(n)) ? `\nits region hidden: ${signed(effect(n), vari().places + 1)}${unit()}` : "";
    tip(e, d.nodes[n] + hidden + (asked.has(n) ? `\nattention ${percent(asked.get(n))}` : ""));
  });
  leave(root);
  root.setAttribute("aria-label", `What each region adds to the change at ${d.nodes[c.n]}: ${c.space.map((x) => signed(x, vari().places + 1)).join(", ")}.`);
  const words = c.space.length ? "Colour: by how much the number moves when that region is hidden" : "Colour: attention";
  host.append(note(`${words}${asked.size && c.space.length ? `; ${plan.kind === "map" ? "size" : "dots"}: attention` : ""}. Ring: the place itself.`), legendOf(c.space.length ? most : null));
}
/* attention on a cell, which has no size of its own to show it by */
function dotIn(mark, share) {
  const box = mark.getBBox(), r = Math.max(1.5, (Math.min(box.width, box.height, 30) / 4) * share);
  const where = { cx: box.x + box.width / 2, cy: box.y + box.height / 2, r };
  return svg("circle", { class: "asked", ...where, fill: css("--ink"), stroke: css("--card"), "pointer-events": "none" });
}
function legendOf(most) {
  if (most === null) return "";
  const bar = make("span", { class: "ramp" }), places = vari().places + 1;
  bar.style.background = gradient(diverging());
  return make("div", { class: "legend" }, make("span", {}, signed(-most, places) + unit()), bar, make("span", {}, signed(most, places) + unit()));
}
function effectTable(rows, widest) {
  const places = Math.min(6, vari().places + 1);
  return make("table", { class: "bars" }, make("tbody", {}, ...rows.map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row" }, name), cell(signed(value, places)), make("td", { class: "w" }, barOf(value, widest, name, places))))));
}
function widestOf(c) {
  return Math.max(...c.time.map(Math.abs), ...Object.values(c.modality).map(Math.abs), 1e-12);
}
function drawHiddenTime(d, c) {
  const rows = d.looked.blocks.map(([from, to], i) => [to > 0 ? `${span(from)} to ${span(to)} before` : `the last ${span(from)}`, c.time[i]]).filter((r) => isNum(r[1]));
  const asked = c.asked_time.map(([seconds, share]) => `${seconds ? span(seconds) + " before" : "newest"} ${percent(share, 0)}`);
  $("looked-time").replaceChildren(
    make("h3", {}, "When"), rows.length ? effectTable(rows, widestOf(c)) : note("No part of the past was hidden."),
    ...(asked.length ? [note(`Attention over the past: ${asked.join(", ")}.`)] : []));
}
function drawHiddenOthers(d, c) {
  const rows = Object.entries(c.modality).map(([name, value]) => [d.looked.names[name] || name, value]);
  if (rows.length) $("looked-others").replaceChildren(make("h3", {}, "Other inputs"), effectTable(rows, widestOf(c)));
}
