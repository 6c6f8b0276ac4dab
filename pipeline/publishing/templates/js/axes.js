/* Drawing: SVG elements, scales with their ticks, lines, colours. */
const NS = "http://www.w3.org/2000/svg";
const RAMP = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];
const DIVERGE = [[33, 102, 172], [90, 155, 200], [176, 205, 222], [221, 222, 218], [240, 196, 172], [232, 128, 90], [178, 24, 43]];
const DIVERGE_DARK = [[90, 165, 235], [70, 118, 158], [52, 78, 92], [46, 58, 55], [92, 70, 56], [178, 102, 62], [246, 140, 86]];
/* on a dark ground the darkest colours would be lost */
const RAMP_DARK = [[112, 98, 190], [72, 122, 196], [46, 154, 180], [62, 188, 148], [144, 216, 100], [252, 236, 90]];
const ramp = () => (dark() ? RAMP_DARK : RAMP);
const diverging = () => (dark() ? DIVERGE_DARK : DIVERGE);

function svg(tag, attributes, text) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attributes)) if (v !== null && v !== undefined) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}
function canvas(host, height, label) {
  const width = Math.max(150, host.clientWidth);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
  host.replaceChildren(root);
  return [root, width];
}
function colour(stops, share) {
  const x = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(x)), f = x - i;
  return `rgb(${stops[i].map((c, k) => Math.round(c + (stops[i + 1][k] - c) * f)).join(",")})`;
}
const gradient = (stops) => `linear-gradient(90deg,${stops.map((c) => `rgb(${c})`).join(",")})`;

function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) found.push(Math.abs(t) < step * 1e-6 ? 0 : t);
  const half = String(step / power).includes(".") ? 1 : 0;
  return [found, Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9) + half))];
}
const STEPS = [
  300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600, 604800, 1209600, 2592000, 7776000,
];
function timeTicks(low, high, count) {
  const step = STEPS.find((s) => (high - low) / s <= count) || 31536000;
  const shift = offset(low), found = [];
  for (let t = Math.ceil((low + shift) / step) * step - shift; t <= high; t += step) found.push(t);
  return [found, (t) => said(step >= 86400 || (t + shift) % 86400 === 0 ? DM : HM, t)];
}

/* A frame with a vertical axis; gives the functions that place things in it. */
function frame(root, width, height, pad, [x0, x1], [y0, y1], yLabel, yTicks) {
  const X = (x) => pad.l + ((x - x0) / (x1 - x0 || 1)) * (width - pad.l - pad.r);
  const Y = (y) => pad.t + (1 - (y - y0) / (y1 - y0 || 1)) * (height - pad.t - pad.b);
  const [marks, places] = ticks(y0, y1, yTicks);
  for (const y of marks) {
    root.append(svg("line", { x1: pad.l, x2: width - pad.r, y1: Y(y), y2: Y(y), stroke: css("--grid") }));
    root.append(svg("text", { x: pad.l - 8, y: Y(y) + 4, "text-anchor": "end" }, yLabel(y, places)));
  }
  const back = (event) => {
    const box = root.getBoundingClientRect();
    return x0 + ((((event.clientX - box.left) * width) / box.width - pad.l) / (width - pad.l - pad.r)) * (x1 - x0);
  };
  return { X, Y, back };
}
function timeAxis(root, width, height, pad, X, [t0, t1], count) {
  const [marks, label] = timeTicks(t0, t1, count);
  for (const t of marks) {
    root.append(svg("line", { x1: X(t), x2: X(t), y1: height - pad.b, y2: height - pad.b + 4, stroke: css("--quiet") }));
    const x = Math.max(pad.l, Math.min(width - 16, X(t)));
    root.append(svg("text", { x, y: height - 9, "text-anchor": "middle" }, label(t)));
  }
}
/* the path through points; it is broken where one has no value */
function through(points, X, Y) {
  let pen = false;
  return points
    .map(([x, y]) => {
      const move = pen ? "L" : "M";
      pen = isNum(y);
      return pen ? `${move}${X(x).toFixed(1)} ${Y(y).toFixed(1)}` : "";
    })
    .join("");
}
const ribbon = (lower, upper, X, Y) => through(lower, X, Y) + through([...upper].reverse(), X, Y).replace("M", "L") + "Z";
function withRoom(values, share, floor) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * share;
  return [floor !== undefined && low >= floor && low - room < floor ? floor : low - room, high + room];
}
function lineKey(stroke, dash, width, text) {
  const g = svg("svg", { width: 26, height: 8, viewBox: "0 0 26 8", "aria-hidden": "true" });
  g.append(svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: css(stroke), "stroke-width": width, "stroke-dasharray": dash }));
  return make("span", {}, g, text);
}
const modelKey = (model, width) => lineKey(...modelLine(model), width, modelName(model));
function key(kind, style, text) {
  const i = make("i", { class: kind });
  Object.assign(i.style, style);
  return make("span", {}, i, text);
}
const leave = (root) => root.addEventListener("pointerleave", () => tip(null, ""));
const nearestIndex = (list, x) => list.reduce((best, p, i) => (Math.abs(p - x) < Math.abs(list[best] - x) ? i : best), 0);
