/* Data, state, elements, numbers and instants in words. */
const data = JSON.parse(document.getElementById("data").textContent);
const state = { d: 0, v: 0, lead: 0, node: 0, mode: "value", metric: "mae", source: "heldout", change: 0 };
const MEDIAN = data.levels.indexOf(0.5);
const LOW = 1, HIGH = data.levels.length - 2; // the 80 % band
const NAMES = data.model_names;
const LINES = {
  joint: ["--joint", ""],
  published: ["--ink", "1 0"],
  persistence: ["--b1", "6 4"],
  historical_average: ["--b2", "2 3"],
  ridge: ["--b3", "9 3 2 3"],
  seasonal_persistence: ["--b1", "2 6"],
  boosted_trees: ["--b3", "1 4"],
};

const $ = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const modelName = (model) => NAMES[model] || model;
const modelLine = (model) => LINES[model] || ["--past", "1 3"];

function make(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) if (v !== null && v !== undefined) e.setAttribute(k, v);
  e.append(...children);
  return e;
}
const note = (text) => make("p", { class: "note" }, text);
const cell = (text, attributes) => make("td", { class: "num", ...attributes }, text);
const headRow = (titles, numericFrom) =>
  make("tr", {}, ...titles.map((t, i) => make("th", { scope: "col", class: i >= numericFrom ? "num" : null }, t)));
function chosen(label, pressed, attributes, act) {
  const b = make("button", { type: "button", "aria-pressed": pressed, ...attributes }, label);
  b.addEventListener("click", act);
  return b;
}

/* what is selected */
const dom = () => data.domains[state.d];
const vari = () => dom().variables[state.v];
const nodeCount = () => dom().nodes.length;
const quant = (q, l, n) => vari().q[q][l * nodeCount() + n];
const last = (n) => vari().last[n];
const cameAt = (l, n) => (vari().came ? vari().came[l * nodeCount() + n] : null);

/* numbers */
const isNum = (x) => x !== null && x !== undefined && Number.isFinite(x);
const FORMATS = new Map();
function fmt(x, places) {
  if (!isNum(x)) return "–";
  if (!FORMATS.has(places)) {
    FORMATS.set(places, new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
  }
  return FORMATS.get(places).format(Math.abs(x) < 0.5 * 10 ** -places ? 0 : x).replace("-", "−");
}
const percent = (x, places) => (isNum(x) ? fmt(100 * x, places === undefined ? 1 : places) + " %" : "–");
const unit = () => (vari().unit ? " " + vari().unit : "");
const show = (x) => fmt(x, vari().places);
const withUnit = (x) => (isNum(x) ? show(x) + unit() : "no value");
const signed = (x, places) => (isNum(x) ? (x > 0 ? "+" : "") + fmt(x, places) : "–");
const ascending = (values) => values.filter(isNum).sort((a, b) => a - b);
const pick = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];

/* instants, in the zone of the world */
const zone = data.world.zone;
const clock = (parts) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...parts });
const FULL = clock({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const HM = clock({ hour: "2-digit", minute: "2-digit" });
const DM = clock({ day: "numeric", month: "short" });
const WHOLE = clock({ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" });
/* as the words around the charts have it: Sep, not Sept */
const said = (format, seconds) => format.format(new Date(seconds * 1000)).replace("Sept", "Sep");
const at = (seconds) => said(FULL, seconds);
function span(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60), rest = minutes % 60;
  if (hours < 48) return rest ? `${hours} h ${rest} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d${hours % 24 ? ` ${hours % 24} h` : ""}`;
}
/* seconds by which local time is ahead of UTC */
function offset(seconds) {
  const p = Object.fromEntries(WHOLE.formatToParts(new Date(seconds * 1000)).map((x) => [x.type, +x.value]));
  return Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute) / 1000 - Math.floor(seconds / 60) * 60;
}

function tip(event, text) {
  const box = $("tip");
  if (!text) return box.classList.remove("on");
  box.textContent = text;
  box.classList.add("on");
  const r = box.getBoundingClientRect();
  box.style.left = Math.min(innerWidth - r.width - 8, Math.max(8, event.clientX + 14)) + "px";
  box.style.top = Math.max(8, event.clientY - r.height - 12) + "px";
}
