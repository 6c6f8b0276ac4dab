/* Choosing: domain, variable, place, lead, measure. */
function fillDomain() {
  const d = dom();
  $("variables").replaceChildren(...d.variables.map((v, i) => chosen(v.label, i === state.v, {}, () => select({ v: i }))));
  $("node").replaceChildren(...d.nodes.map((name, n) => make("option", { value: n }, name)));
  $("lead").max = d.lead.length - 1;
  $("metrics").replaceChildren(...Object.entries(METRICS).map(([k, title]) => chosen(title, k === state.metric, { "data-metric": k }, () => {
    state.metric = k;
    press("metrics", "metric", k);
    drawSkill();
  })));
}
function press(group, name, value) {
  for (const b of $(group).children) b.setAttribute("aria-pressed", b.dataset[name] === String(value));
}
function select(change) {
  const fresh = "d" in change, other = fresh || "v" in change;
  Object.assign(state, change);
  if (fresh) {
    Object.assign(state, { v: 0, node: dom().first, lead: 0, change: 0 });
    state.mode = vari().relative ? "change" : "value";
    [...$("domains").children].forEach((b, i) => {
      b.setAttribute("aria-selected", i === state.d);
      b.tabIndex = i === state.d ? 0 : -1;
    });
    fillDomain();
  }
  if (other) {
    state.change = 0;
    [...$("variables").children].forEach((b, i) => b.setAttribute("aria-pressed", i === state.v));
    press("modes", "mode", state.mode);
  }
  $("node").value = state.node;
  $("lead").value = state.lead;
  $("lead").setAttribute("aria-valuetext", `${at(dom().valid[state.lead])}, ${span(dom().lead[state.lead])} ahead`);
  if (other) { drawMap(); fillSources(); drawSkill(); drawCalibration(); } else paintMap();
  if (other || "node" in change) drawEarlier();
  if (other || "change" in change) drawLooked();
  drawFan();
  drawWhy();
}
function redraw() {
  for (const draw of [drawMap, drawFan, drawEarlier, drawSkill, drawCalibration, drawWhy, drawLooked, drawHoles]) draw();
}
function arrows(event, forward, backward, count, current, act) {
  const step = forward.includes(event.key) ? 1 : backward.includes(event.key) ? -1 : 0;
  if (!step) return;
  event.preventDefault();
  act((current + step + count) % count);
}

let playing = null;
function play() {
  const stop = () => { clearInterval(playing); playing = null; $("play").setAttribute("aria-pressed", false); $("play").textContent = "Play"; };
  if (playing) return stop();
  $("play").setAttribute("aria-pressed", true);
  $("play").textContent = "Stop";
  if (state.lead === dom().lead.length - 1) select({ lead: 0 });
  playing = setInterval(() => (state.lead < dom().lead.length - 1 ? select({ lead: state.lead + 1 }) : stop()), 500);
}

function begin() {
  $("domains").replaceChildren(...data.domains.map((d, i) => {
    const b = make("button", { type: "button", role: "tab", "aria-selected": i === 0, "aria-controls": "forecast-panel", id: "tab-" + d.name }, d.title);
    b.addEventListener("click", () => select({ d: i }));
    return b;
  }));
  $("domains").addEventListener("keydown", (e) => arrows(e, ["ArrowRight"], ["ArrowLeft"], data.domains.length, state.d, (i) => {
    select({ d: i });
    $("domains").children[i].focus();
  }));
  for (const b of $("modes").children) b.addEventListener("click", () => {
    state.mode = b.dataset.mode;
    press("modes", "mode", state.mode);
    painted.scale = scaleOf();
    paintMap();
  });
  $("lead").addEventListener("input", (e) => select({ lead: +e.target.value }));
  $("play").addEventListener("click", play);
  $("node").addEventListener("change", (e) => select({ node: +e.target.value }));
  $("map").addEventListener("keydown", (e) =>
    arrows(e, ["ArrowRight", "ArrowDown"], ["ArrowLeft", "ArrowUp"], nodeCount(), state.node, (n) => select({ node: n })));
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  select({ d: 0 });
  drawHoles();
  beginWarnings();
}
if (data.domains.length) begin();
else document.querySelectorAll("#forecast-panel").forEach((e) => e.remove());
document.documentElement.dataset.ready = "yes";
