/* The map: nodes at their places, segments, cells of a grid, or tiles where there is no place. */
let painted = null;

function mapValue(n, l) {
  const x = quant(MEDIAN, l, n);
  if (state.mode === "value") return x;
  const from = last(n);
  if (!isNum(from)) return null;
  return vari().relative ? (from ? 100 * (x / from - 1) : null) : x - from;
}
const isShare = () => state.mode === "change" && vari().relative;
const mapUnit = () => (isShare() ? " %" : unit());

function scaleOf() {
  const all = [];
  for (let l = 0; l < dom().lead.length; l++) for (let n = 0; n < nodeCount(); n++) all.push(mapValue(n, l));
  const s = ascending(all);
  if (!s.length) return { low: 0, high: 1, none: true };
  if (state.mode === "change") {
    const most = Math.max(Math.abs(pick(s, 0.02)), Math.abs(pick(s, 0.98)), 1e-9);
    return { low: -most, high: most, stops: diverging(), still: most < 1e-6 };
  }
  let low = pick(s, 0.02), high = pick(s, 0.98);
  if (high <= low) [low, high] = [s[0], s[s.length - 1]];
  if (high <= low) high = low + 1;
  return { low, high, stops: ramp() };
}

/* where everything goes on a width, at most so high */
function layout(d, width, highest) {
  const known = d.nodes.map((_, n) => n).filter((n) => isNum(d.lat[n]) && isNum(d.lon[n]));
  if (d.grid) return gridLayout(d, width, highest);
  if (known.length < 3) return tileLayout(d, width);
  const points = known.flatMap((n) => [[d.lat[n], d.lon[n]], ...(d.ends ? [d.ends[n].slice(0, 2), d.ends[n].slice(2)] : [])]);
  const placed = points.filter((p) => isNum(p[0]) && isNum(p[1]));
  const lats = placed.map((p) => p[0]), lons = placed.map((p) => p[1]);
  const north = Math.max(...lats), south = Math.min(...lats), west = Math.min(...lons), east = Math.max(...lons);
  const cos = Math.cos((((north + south) / 2) * Math.PI) / 180), pad = 16;
  const w = Math.max(1e-6, (east - west) * cos), h = Math.max(1e-6, north - south);
  const height = Math.max(Math.min(260, highest), Math.min(highest, (width * h) / w));
  const k = Math.min((width - 2 * pad) / w, (height - 2 * pad) / h);
  const left = (width - k * w) / 2, top = (height - k * h) / 2;
  const project = (lat, lon) => [left + (lon - west) * cos * k, top + (north - lat) * k];
  return { kind: "map", height, place: (n) => project(d.lat[n], d.lon[n]), project, perDegree: k, known: new Set(known) };
}
function gridLayout(d, width, highest) {
  const [rows, columns] = d.grid, size = Math.min(width / columns, highest / rows);
  const southFirst = d.lat[0] < d.lat[d.nodes.length - 1];
  const row = (n) => (southFirst ? rows - 1 - Math.floor(n / columns) : Math.floor(n / columns));
  const place = (n) => [(n % columns) * size, row(n) * size];
  return { kind: "grid", height: size * rows, place, size, left: (width - size * columns) / 2 };
}
function tileLayout(d, width) {
  const count = d.nodes.length;
  const wished = Math.max(13, Math.min(150, Math.sqrt((width * 330) / count)));
  const columns = Math.max(1, Math.min(count, Math.floor(width / wished))), size = Math.min(150, width / columns);
  const place = (n) => [(n % columns) * size, Math.floor(n / columns) * size];
  return { kind: "tiles", height: Math.max(size, Math.ceil(count / columns) * size), place, size, left: (width - size * columns) / 2 };
}

/* one mark for each node, null for one without a place */
function marksOf(root, d, plan) {
  return d.nodes.map((_, n) => {
    if (plan.kind === "map" && !plan.known.has(n)) return null;
    const [x, y] = plan.place(n), many = d.nodes.length > 150;
    let mark;
    if (plan.kind !== "map") {
      const tile = plan.kind === "tiles", gap = tile ? Math.min(2, plan.size / 8) : 0.3, side = plan.size - gap;
      mark = svg("rect", { x: plan.left + x + gap / 2, y: y + gap / 2, width: side, height: side, rx: tile ? 3 : 0 });
    } else if (d.ends && d.ends[n].every(isNum)) {
      const [x1, y1] = plan.project(d.ends[n][0], d.ends[n][1]), [x2, y2] = plan.project(d.ends[n][2], d.ends[n][3]);
      const still = x1 === x2 && y1 === y2;
      mark = svg("line", { x1, y1, x2: still ? x2 + 0.1 : x2, y2, "stroke-width": many ? 3.2 : 5, "stroke-linecap": "round" });
    } else mark = svg("circle", { cx: x, cy: y, r: many ? 4 : 8, stroke: css("--card"), "stroke-width": 1 });
    mark.classList.add("node");
    mark.dataset.n = n;
    root.append(mark);
    return mark;
  });
}
function fill(mark, value) {
  mark.setAttribute(mark.tagName === "line" ? "stroke" : "fill", value);
}
function middle(mark, plan, n) {
  const half = (a, b) => (+mark.getAttribute(a) + +mark.getAttribute(b)) / 2;
  if (mark.tagName === "line") return [half("x1", "x2"), half("y1", "y2")];
  const [x, y] = plan.place(n);
  return plan.kind === "map" ? [x, y] : [x + plan.left + plan.size / 2, y + plan.size / 2];
}
function nearestNode(event, root, plan, marks, width) {
  if (event.target.dataset && event.target.dataset.n !== undefined) return +event.target.dataset.n;
  const box = root.getBoundingClientRect();
  const px = ((event.clientX - box.left) * width) / box.width, py = ((event.clientY - box.top) * plan.height) / box.height;
  let best = -1, distance = plan.kind === "map" ? 400 : 1e12;
  marks.forEach((mark, n) => {
    if (!mark) return;
    const [x, y] = middle(mark, plan, n), away = (x - px) ** 2 + (y - py) ** 2;
    if (away < distance) [distance, best] = [away, n];
  });
  return best;
}
function ringAround(ring, mark, plan, n) {
  ring.style.display = mark ? "" : "none";
  if (!mark) return;
  if (plan.kind === "map") {
    const [cx, cy] = middle(mark, plan, n);
    for (const [k, v] of Object.entries({ cx, cy, r: 11 })) ring.setAttribute(k, v);
  } else {
    const [x, y] = plan.place(n);
    for (const [k, v] of Object.entries({ x: plan.left + x, y, width: plan.size, height: plan.size, rx: 3 })) ring.setAttribute(k, v);
  }
}
const ringOf = (plan) =>
  svg(plan.kind === "map" ? "circle" : "rect", { fill: "none", stroke: css("--ink"), "stroke-width": 2.5, "pointer-events": "none" });

function drawMap() {
  const d = dom(), [root, width] = canvas($("map"), 10, "");
  const plan = layout(d, width, d.grid ? 420 : 460);
  root.setAttribute("viewBox", `0 0 ${width} ${plan.height}`);
  root.setAttribute("height", plan.height);
  const marks = marksOf(root, d, plan);
  if (plan.kind === "tiles" && plan.size >= 44) labelTiles(root, d, plan);
  if (plan.kind === "map" && d.nodes.length <= 40) labelNodes(root, d, plan, width);
  if (plan.kind === "map") drawScaleBar(root, plan, width);
  const ring = ringOf(plan);
  root.append(ring);
  const nearest = (event) => nearestNode(event, root, plan, marks, width);
  root.addEventListener("click", (e) => { const n = nearest(e); if (n >= 0) select({ node: n }); });
  root.addEventListener("pointermove", (e) => { const n = nearest(e); tip(e, n < 0 ? "" : `${d.nodes[n]}\n${mapText(n)}`); });
  leave(root);
  painted = { root, marks, ring, plan, scale: scaleOf() };
  paintMap();
}
function labelTiles(root, d, plan) {
  d.nodes.forEach((name, n) => {
    const [x, y] = plan.place(n);
    const where = { x: plan.left + x + plan.size / 2, "text-anchor": "middle", "pointer-events": "none", "data-label": n };
    root.append(svg("text", { ...where, y: y + plan.size / 2 - 3 }, name.slice(0, Math.floor(plan.size / 7))));
    root.append(svg("text", { ...where, y: y + plan.size / 2 + 13, "font-weight": 600, "data-number": n }, ""));
  });
}
function labelNodes(root, d, plan, width) {
  const around = (n) => { const [x, y] = plan.place(n); return [x - 8, y - 8, x + 8, y + 8]; };
  const taken = [...plan.known].map(around);
  const meet = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  for (const n of plan.known) {
    const [x, y] = plan.place(n), wide = 12 + 7 * d.nodes[n].length;
    const sides = { start: [x + 10, y - 7, x + wide, y + 7], end: [x - wide, y - 7, x - 10, y + 7] };
    const free = Object.keys(sides).find((side) => {
      const box = sides[side];
      return box[0] >= 0 && box[2] <= width && !taken.some((other) => meet(box, other));
    });
    if (!free) continue;
    taken.push(sides[free]);
    root.append(svg("text", { x: free === "end" ? x - 12 : x + 12, y: y + 4, "text-anchor": free, "pointer-events": "none" }, d.nodes[n]));
  }
}
function drawScaleBar(root, plan, width) {
  const sizes = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];
  const km = sizes.filter((x) => (x / 111.2) * plan.perDegree < width / 4).pop() || 0.1, w = (km / 111.2) * plan.perDegree;
  root.append(svg("path", { d: `M8 ${plan.height - 12}v4h${w}v-4`, fill: "none", stroke: css("--quiet") }));
  root.append(svg("text", { x: 8, y: plan.height - 17 }, km < 1 ? `${km * 1000} m` : `${km} km`));
}
function mapText(n) {
  const x = mapValue(n, state.lead), places = isShare() ? 2 : vari().places;
  const value = state.mode === "change" ? `${signed(x, places)}${mapUnit()} since the last value` : withUnit(x);
  return `${value}\n80 % band ${show(quant(LOW, state.lead, n))} to ${show(quant(HIGH, state.lead, n))}`;
}
function paintMap() {
  const d = dom(), { marks, ring, plan, scale, root } = painted, none = css("--nodata");
  marks.forEach((mark, n) => {
    if (!mark) return;
    const x = mapValue(n, state.lead), share = (x - scale.low) / (scale.high - scale.low);
    fill(mark, isNum(x) && !scale.none ? colour(scale.stops, share) : none);
    if (plan.kind === "tiles" && plan.size >= 44) paintTile(root, n, x, share);
  });
  ringAround(ring, marks[state.node], plan, state.node);
  paintLegend(scale);
  const where = { tiles: "Places without a map position, as tiles", grid: "Cells of the grid", map: "North is up" }[plan.kind];
  const what = state.mode === "change" ? "change of the forecast median since each place's last value" : "forecast median";
  const some = d.all_nodes > d.nodes.length ? ` ${d.nodes.length} of ${d.all_nodes} places are shown; the files have all.` : "";
  const still = scale.still ? "No change is forecast. " : "";
  $("map-sub").textContent = `${vari().label}, ${what}. ${still}${d.nodes.length === 1 ? "One place." : where + "; click one."}${some}`;
  $("lead-text").textContent = `${at(d.valid[state.lead])}, ${span(d.lead[state.lead])} ahead`;
  const chosenText = `Selected ${d.nodes[state.node]}: ${mapText(state.node).replace("\n", ", ")}.`;
  const title = `${d.title}: ${vari().label}, ${d.nodes.length} places, forecast for ${at(d.valid[state.lead])}.`;
  root.setAttribute("aria-label", `${title} ${chosenText}`);
}
function paintTile(root, n, x, share) {
  const light = state.mode === "change" ? dark() : !(share > (dark() ? 0.25 : 0.5)) && isNum(x);
  const pale = state.mode === "change" && !dark() && share > 0.2 && share < 0.8;
  for (const label of root.querySelectorAll(`[data-label="${n}"]`)) {
    label.style.fill = !isNum(x) ? css("--ink") : light || (state.mode === "change" && !pale) ? "#fff" : "#111";
    const number = state.mode === "change" ? signed(x, vari().relative ? 1 : vari().places) : show(x);
    if (label.dataset.number) label.textContent = number + mapUnit();
  }
}
function paintLegend(scale) {
  const places = isShare() ? 1 : vari().places, bar = make("span", { class: "ramp" });
  const end = (x, word) => (state.mode === "change" ? signed(x, places) : word + fmt(x, places)) + mapUnit();
  bar.style.background = scale.none ? css("--nodata") : gradient(scale.stops);
  $("legend").replaceChildren(make("span", {}, end(scale.low, "≤ ")), bar, make("span", {}, end(scale.high, "≥ ")));
}
