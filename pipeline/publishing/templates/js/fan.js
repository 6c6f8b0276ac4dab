/* The fan of one place: its recent past, earlier forecasts of it, the bands ahead, and what came. */
function drawFan() {
  const d = dom(), v = vari(), n = state.node, N = nodeCount(), height = 310, pad = { l: 52, r: 14, t: 12, b: 28 };
  const [root, width] = canvas($("fan"), height, "");
  const past = d.past.map((t, i) => [t, v.past[i * N + n]]);
  const bands = data.levels.map((_, k) => d.valid.map((t, l) => [t, quant(k, l, n)]));
  const came = d.valid.map((t, l) => [t, cameAt(l, n)]).filter((p) => isNum(p[1]));
  const t0 = Math.min(past.length ? past[0][0] : data.issue_time, data.issue_time), t1 = d.valid[d.valid.length - 1];
  const before = earlierLines(d, v, n, t0);
  const values = [past, bands.flat(), came, before.flatMap((b) => b.points)].flat().map((p) => p[1]).filter(isNum);
  const { X, Y, back } = frame(root, width, height, pad, [t0, t1], withRoom(values, 0.07, 0), fmt, 5);
  timeAxis(root, width, height, pad, X, [t0, t1], Math.max(3, Math.floor(width / 85)));
  const seen = past.filter((p) => isNum(p[1])), start = seen.slice(-1);
  const near = start.length && d.valid[0] - start[0][0] <= 3 * d.step ? start : [];
  for (const [k, shade] of [[0, "--fan1"], [1, "--fan2"], [2, "--fan3"]]) {
    const lower = [...near, ...bands[k]], upper = [...near, ...bands[data.levels.length - 1 - k]];
    root.append(svg("path", { d: ribbon(lower, upper, X, Y), fill: css(shade) }));
  }
  const issued = { x1: X(data.issue_time), x2: X(data.issue_time), y1: pad.t, y2: height - pad.b };
  root.append(svg("line", { ...issued, stroke: css("--quiet"), "stroke-dasharray": "3 3" }));
  root.append(svg("text", { x: X(data.issue_time) - 5, y: pad.t + 9, "text-anchor": "end" }, "issued"));
  for (const b of before) {
    root.append(svg("path", { d: through(b.points, X, Y), fill: "none", stroke: css("--b2"), "stroke-width": 1.4, "stroke-dasharray": "4 3" }));
  }
  drawPast(root, past, X, Y);
  root.append(svg("path", { d: through([...near, ...bands[MEDIAN]], X, Y), fill: "none", stroke: css("--joint"), "stroke-width": 2.6 }));
  for (const [t, y] of came) {
    root.append(svg("circle", { cx: X(t), cy: Y(y), r: 4.2, fill: css("--came"), stroke: css("--card"), "stroke-width": 1.5 }));
  }
  const lt = d.valid[state.lead], median = quant(MEDIAN, state.lead, n);
  root.append(svg("line", { x1: X(lt), x2: X(lt), y1: pad.t, y2: height - pad.b, stroke: css("--ink"), "stroke-opacity": 0.35 }));
  root.append(svg("circle", { cx: X(lt), cy: Y(median), r: 5, fill: css("--card"), stroke: css("--joint"), "stroke-width": 2.6 }));
  const ahead = (t) => t > (start.length ? (start[0][0] + d.valid[0]) / 2 : data.issue_time);
  root.addEventListener("pointermove", (e) => tip(e, ahead(back(e)) ? leadText(back(e)) : pastText(back(e))));
  root.addEventListener("click", (e) => { if (back(e) > data.issue_time) select({ lead: nearestIndex(d.valid, back(e)) }); });
  leave(root);
  const band = `80 % band ${show(quant(LOW, state.lead, n))} to ${show(quant(HIGH, state.lead, n))}`;
  const told = `last value ${withUnit(last(n))}; forecast for ${at(lt)} ${withUnit(median)}, ${band}.`;
  root.setAttribute("aria-label", `${v.label} at ${d.nodes[n]}: ${told}`);
  $("fan-sub").textContent = `${v.label}${v.unit ? ", " + v.unit : ""} at ${d.nodes[n]}. Published model: ${modelName(v.model)}.`;
  fanKey(came.length, before.length);
  $("came").textContent = cameText(came);
  fillNumbers();
}
/* medians of forecasts issued before, where they reach into the past that is shown */
function earlierLines(d, v, n, t0) {
  return d.earlier
    .map((e, i) => ({ e, b: v.earlier[i] }))
    .filter(({ e, b }) => b && e.valid[e.valid.length - 1] >= t0)
    .map(({ e, b }) => ({ points: e.valid.map((t, l) => [t, b.q[1][l * nodeCount() + n]]).filter((p) => p[0] >= t0 && p[0] <= data.issue_time) }))
    .filter((b) => b.points.some((p) => isNum(p[1])));
}
function drawPast(root, past, X, Y) {
  root.append(svg("path", { d: through(past, X, Y), fill: "none", stroke: css("--past"), "stroke-width": 1.8 }));
  if (past.length > 60) return;
  past.forEach(([t, y], i) => {
    if (!isNum(y)) return;
    const joined = [past[i - 1], past[i + 1]].some((p) => p && isNum(p[1]));
    root.append(svg("circle", { cx: X(t), cy: Y(y), r: joined ? 1.9 : 3, fill: css("--past") }));
  });
}
function leadText(t) {
  const l = nearestIndex(dom().valid, t), n = state.node, c = cameAt(l, n);
  const band = `80 % band ${show(quant(LOW, l, n))} to ${show(quant(HIGH, l, n))}`;
  return `${at(dom().valid[l])}\nmedian ${withUnit(quant(MEDIAN, l, n))}\n${band}` + (isNum(c) ? `\ncame ${withUnit(c)}` : "");
}
function pastText(t) {
  const i = nearestIndex(dom().past, t);
  return `${at(dom().past[i])}\nobserved ${withUnit(vari().past[i * nodeCount() + state.node])}`;
}
function fanKey(came, before) {
  $("fan-key").replaceChildren(
    lineKey("--past", "", 2.5, "observed"),
    lineKey("--joint", "", 2.5, "median"),
    key("", { background: css("--fan3"), outline: "1px solid " + css("--fan3") }, "50 %"),
    key("", { background: css("--fan2") }, "80 %"),
    key("", { background: css("--fan1") }, "90 % of outcomes"),
    ...(before ? [lineKey("--b2", "4 3", 1.6, "medians issued before")] : []),
    ...(came ? [key("dot", { background: css("--came") }, "what came")] : []),
  );
}
function cameText(came) {
  const d = dom(), v = vari(), n = state.node;
  if (!v.came) return "What came: not verified yet. The page is renewed when observations arrive.";
  if (!came.length) return "What came: nothing good was observed at this place yet.";
  const lead = (t) => d.valid.indexOf(t);
  const inside = came.filter(([t, y]) => y >= quant(LOW, lead(t), n) && y <= quant(HIGH, lead(t), n)).length;
  const error = came.reduce((sum, [t, y]) => sum + Math.abs(y - quant(MEDIAN, lead(t), n)), 0) / came.length;
  const counted = `${came.length} of ${d.valid.length} leads observed here so far; ${inside} inside the 80 % band`;
  return `What came: ${counted}; mean error of the median ${withUnit(error)}.`;
}
function fillNumbers() {
  const d = dom(), n = state.node;
  const head = headRow(["Time", "Ahead", "5 %", "10 %", "25 %", "Median", "75 %", "90 %", "95 %", "Came"], 2);
  const rows = d.valid.map((t, l) =>
    make("tr", { class: l === state.lead ? "here" : null },
      make("th", { scope: "row" }, at(t)), make("td", {}, span(d.lead[l])),
      ...data.levels.map((_, k) => cell(show(quant(k, l, n)))), cell(show(cameAt(l, n)))));
  $("numbers").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}
