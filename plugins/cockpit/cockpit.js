"use strict";
const STEPS = ["land", "observe", "build_cube", "train", "evaluate", "promote", "inputs", "predict", "publish", "verify", "monitor", "replay", "retain"];
const DAG = {land: "ingest", observe: "ingest", build_cube: "cube", train: "training", evaluate: "training", promote: "training",
  inputs: "forecast", predict: "forecast", publish: "forecast", verify: "monitoring", monitor: "monitoring", replay: "replay", retain: "retention"};
const ALWAYS = STEPS.filter((step) => !["inputs", "replay", "retain"].includes(step));
const PAGED = ["predict", "publish"];
const COLUMNS = window.innerWidth < 700 ? 40 : 120, DAY = 86400;
const state = {world: null, days: 30, end: null, dag: null, run: null, whole: null, meaning: {}};

async function ask(path) {
  const answer = await fetch(`/cubecast/api/${path}`, {credentials: "same-origin"});
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null)).toString();

function says(what, cell) {
  const late = cell.outcome === "late" ? `, ${age(cell.after)} after it` : "";
  return `${what} ${utc(cell.as_of)}: ${state.meaning[cell.outcome]}${late}${cell.count > 1 ? `, the most urgent of ${cell.count}` : ""}${cell.marked ? ", of this run" : ""}`;
}

function cellsOf(name, found, cells, open) {
  const count = Math.ceil((found.last - found.first) / found.width), at = new Map(cells.map((cell) => [cell.at, cell]));
  const row = element("div", {className: "cells", role: "row"});
  row.style.gridTemplateColumns = `repeat(${count}, minmax(0, 1fr))`;
  for (let k = 0; k < count; k++) {
    const moment = found.first + k * found.width, cell = at.get(moment), text = cell ? says(name, cell) : `${name} ${utc(moment)}: nothing`;
    const made = element("button", {className: cell ? `${cell.outcome}${cell.marked ? " mine" : ""}` : "", title: text, "aria-label": text, role: "gridcell", tabIndex: -1});
    if (cell) made.addEventListener("click", () => open(cell));
    row.append(made);
  }
  return row;
}

const axis = (found) => element("div", {className: "row"}, element("span"), element("div", {className: "axis"},
  element("span", {textContent: utc(found.first).slice(0, 10)}), element("span", {textContent: utc(found.last).slice(0, 10)})));

function drawGrid(found) {
  state.whole = found;
  state.meaning = found.meaning;
  const steps = STEPS.filter((step) => found.steps[step] || ALWAYS.includes(step));
  $("span").textContent = `${utc(found.first)} to ${utc(found.last)}; a column is ${age(found.width)}. Arrow keys move, Enter opens.`;
  const rows = steps.map((step) => element("div", {className: state.dag === DAG[step] ? "row asked" : "row"},
    element("span", {textContent: step.replace("_", " ")}), cellsOf(step, found, found.steps[step] || [], (cell) => openCell(step, cell))));
  $("grid").replaceChildren(...(state.run ? [marker(found)] : []), ...rows, axis(found));
  const last = $("grid").querySelector(".cells button:last-child");
  if (last) last.tabIndex = 0;
  $("earlier").disabled = found.first <= found.oldest;
  $("oldest").disabled = found.first <= found.oldest;
  $("later").disabled = found.last > found.newest;
  $("newest").disabled = found.last > found.newest;
  $("key").replaceChildren(...Object.entries(found.meaning).filter(([name]) => name !== "none").map(([name, text]) =>
    element("span", {}, element("i", {className: name}), text)));
}

function marker(found) {
  const place = (state.run.at - found.first) / (found.last - found.first), line = element("div", {className: "marker"});
  if (place < 0 || place > 1) line.append(element("span", {textContent: `This run, ${utc(state.run.at)}, is ${place < 0 ? "earlier" : "later"}.`}));
  else line.append(element("span", {textContent: place < 0.5 ? "▼ this run" : "this run ▼", className: place < 0.5 ? "left" : "right"}));
  if (place >= 0 && place <= 1) line.firstChild.style[place < 0.5 ? "left" : "right"] = `${100 * (place < 0.5 ? place : 1 - place)}%`;
  return element("div", {className: "row"}, element("span"), line);
}

function drawWorlds(rows) {
  $("worlds").hidden = rows.length < 2;
  $("overview").replaceChildren(...rows.map((row) => element("div", {className: row.world === state.world ? "row asked" : "row"},
    element("span", {textContent: row.world, title: row.title}), cellsOf(row.world, row, row.cells, () => choose(row.world)))));
}

function moveInGrid(event) {
  const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
  if (!step || !event.target.matches(".cells button")) return;
  const rows = [...$("grid").querySelectorAll(".cells")].map((row) => [...row.children]);
  const y = rows.findIndex((row) => row.includes(event.target)), x = rows[y].indexOf(event.target);
  const next = rows[y + step[0]] && rows[y + step[0]][x + step[1]];
  if (!next) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function runLinks(dag, run, task) {
  const place = `/dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(run)}`;
  const links = [element("a", {href: place, target: "_top", textContent: `Run ${run}`})];
  return task ? [...links, " · ", element("a", {href: `${place}/tasks/${encodeURIComponent(task)}`, target: "_top", textContent: "Log"})] : links;
}

function openCell(step, cell) {
  const dag = `${state.world}__${DAG[step]}`, task = cell.source ? `${cell.source}.${step}` : step;
  const way = cell.run ? runLinks(dag, cell.run, task)
    : [element("a", {href: `/dags/${encodeURIComponent(dag)}`, target: "_top", textContent: `DAG ${dag}${cell.outcome === "absent" ? "" : " (done outside of Airflow)"}`})];
  $("detail").replaceChildren(element("strong", {textContent: says(`${step} ${cell.source || ""} as of`, cell)}), element("br"), ...way);
  if (PAGED.includes(step) && cell.outcome !== "absent") $("detail").append(" · ", element("a", {target: "_blank", textContent: "Forecast page",
    href: `/cubecast/api/worlds/${encodeURIComponent(state.world)}/page?issue_time=${cell.as_of}`}));
}

async function showGrid() {
  const asked = {days: state.days, last: state.end, columns: COLUMNS};
  const [found, rows] = await Promise.all([
    ask(`worlds/${encodeURIComponent(state.world)}/grid?${query({...asked, run: state.run && state.run.run_id})}`), ask(`overview?${query(asked)}`)]);
  drawGrid(found);
  drawWorlds(rows);
}

async function guarded(work) {
  $("error").textContent = "";
  try {
    await work();
  } catch (error) {
    $("error").textContent = error.message;
  }
}

const show = () => guarded(async () => {
  await showGrid();
  drawPanels(await ask(`worlds/${encodeURIComponent(state.world)}/panels`));
});

function choose(world) {
  Object.assign(state, {world, end: null, run: null, dag: null});
  $("world").value = world;
  $("detail").replaceChildren();
  show();
}

function page(direction) {
  const {oldest, newest, last} = state.whole, span = state.days * DAY;
  const end = {earlier: last - span, later: last + span, oldest: oldest + span, newest: null}[direction];
  state.end = end === null || end > newest ? null : Math.max(end, oldest + 1);
  guarded(showGrid);
}

async function beginAtRun(dag, run) {
  state.run = await ask(`worlds/${encodeURIComponent(state.world)}/run?${query({dag_id: dag, run_id: run})}`);
  const {newest} = await ask(`worlds/${encodeURIComponent(state.world)}/grid?days=1&columns=1`);
  if (state.run.at < newest - state.days * DAY) state.end = state.run.at + state.days * DAY / 2;
  $("detail").replaceChildren(element("strong", {textContent: `This run of ${dag}: ${state.run.state}, issue time ${utc(state.run.at)}`}),
    element("br"), ...runLinks(dag, run));
}

async function begin() {
  const worlds = await ask("worlds"), given = new URLSearchParams(location.search), dag = given.get("dag_id") || "", run = given.get("run_id");
  if (!worlds.length) { $("error").textContent = "You may see no world's DAGs."; return; }
  $("world").replaceChildren(...worlds.map((w) => element("option", {value: w.name, textContent: w.title})));
  state.world = (worlds.find((w) => dag.startsWith(`${w.name}__`)) || worlds[0]).name;
  state.dag = dag.startsWith(`${state.world}__`) ? dag.slice(state.world.length + 2) : null;
  $("world").value = state.world;
  $("world").addEventListener("change", () => choose($("world").value));
  for (const button of document.querySelectorAll(".segments button[data-days]")) button.addEventListener("click", () => {
    document.querySelectorAll(".segments button[data-days]").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
    state.days = Number(button.dataset.days);
    guarded(showGrid);
  });
  for (const name of ["oldest", "earlier", "later", "newest"]) $(name).addEventListener("click", () => page(name));
  $("grid").addEventListener("keydown", moveInGrid);
  if (run && state.dag) await guarded(() => beginAtRun(dag, run));
  await show();
  setInterval(show, 60000);
}
begin().catch((error) => { $("error").textContent = error.message; });
