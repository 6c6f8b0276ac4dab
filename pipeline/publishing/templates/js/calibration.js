const OF_SOURCE = { heldout: "held-out days", replay: "in replay", since: "since publication" };
const SHADES = { heldout: "--joint", replay: "--b2", since: "--came" };
/* Calibration: whether outcomes fall below each quantile, and into the bands, as often as they should. */
function drawCalibration() {
  const v = vari(), c = v.calibration, source = v.scores[state.source] ? state.source : Object.keys(v.scores)[0] || "heldout";
  const model = ["published", v.model, "joint"].find((m) => c[source][m]), row = c[source][model];
  for (const id of ["reliability", "coverage", "pit", "calibration-key"]) $(id).replaceChildren();
  if (!row || !row.n) {
    $("calibration-sub").textContent = "";
    return $("reliability").replaceChildren(note("No observation to compare with."));
  }
  const bands = `${percent(row.in_80)} lay in the 80 % band and ${percent(row.in_90)} in the 90 % band`;
  $("calibration-sub").textContent = `${modelName(model)}, ${OF_SOURCE[source]}: of ${fmt(row.n, 0)} observations ${bands}.`;
  const all = [["heldout", c.heldout[v.model] || c.heldout.joint], ["replay", c.replay.published], ["since", c.since.published]];
  const curves = all.map(([name, found]) => [name, found && found.below]).filter((x) => x[1]);
  if (curves.length) drawReliability(curves); else drawBands(row);
  drawCoverage(model);
  if (row.pit) drawPit(row.pit);
}
function square(host, label) {
  const height = 230, pad = { l: 46, r: 14, t: 10, b: 34 }, [root, width] = canvas(host, height, label);
  const { X, Y } = frame(root, width, height, pad, [0, 1], [0, 1], (y) => percent(y, 0), 4);
  for (const x of [0, 0.25, 0.5, 0.75, 1]) {
    root.append(svg("text", { x: X(x), y: height - 18, "text-anchor": x === 0 ? "start" : x === 1 ? "end" : "middle" }, percent(x, 0)));
  }
  root.append(svg("text", { x: X(0.5), y: height - 3, "text-anchor": "middle" }, "foretold share below the quantile"));
  root.append(svg("line", { x1: X(0), x2: X(1), y1: Y(0), y2: Y(1), stroke: css("--quiet"), "stroke-dasharray": "3 3" }));
  return { root, X, Y };
}
function drawReliability(curves) {
  const told = curves.map(([name, below]) => `${OF_SOURCE[name]}: ${below.map((x) => percent(x, 0)).join(", ")}`);
  const { root, X, Y } = square($("reliability"), `Observed share below the quantiles ${data.levels.map((x) => percent(x, 0)).join(", ")}; ${told.join("; ")}.`);
  for (const [name, below] of curves) {
    const shade = css(SHADES[name]), points = data.levels.map((level, i) => [level, below[i]]);
    root.append(svg("path", { d: through(points, X, Y), fill: "none", stroke: shade, "stroke-width": 2.2 }));
    for (const [x, y] of points) {
      const dot = svg("circle", { cx: X(x), cy: Y(y), r: 4, fill: shade });
      dot.addEventListener("pointermove", (e) => tip(e, `${percent(x, 0)} quantile, ${OF_SOURCE[name]}\n${percent(y)} of outcomes were below`));
      root.append(dot);
    }
  }
  leave(root);
  $("calibration-key").replaceChildren(
    ...curves.map(([name]) => lineKey(SHADES[name], "", 2.5, OF_SOURCE[name])),
    lineKey("--quiet", "4 3", 1.6, "as it should be"));
}
/* where only the bands were counted */
function drawBands(row) {
  const { root, X, Y } = square($("reliability"), `80 % band holds ${percent(row.in_80)}, 90 % band ${percent(row.in_90)} of outcomes.`);
  root.lastChild.previousSibling.textContent = "foretold share in the band";
  for (const [x, y] of [[0.8, row.in_80], [0.9, row.in_90]]) {
    const dot = svg("circle", { cx: X(x), cy: Y(y), r: 5, fill: css("--joint") });
    dot.addEventListener("pointermove", (e) => tip(e, `${percent(x, 0)} band\n${percent(y)} of outcomes were inside`));
    root.append(dot);
  }
  leave(root);
}
function drawCoverage(model) {
  const s = scored();
  if (!s || !s.leads[model]) return;
  const rows = s.leads[model], L = rows.length, values = rows.flatMap((r) => [r.coverage_80, r.coverage_90]).filter(isNum);
  if (!values.length) return;
  const height = 230, pad = { l: 46, r: 14, t: 10, b: 30 }, [root, width] = canvas($("coverage"), height, "");
  const range = [Math.max(0, Math.min(0.7, ...values) - 0.05), 1];
  const { X, Y, back } = frame(root, width, height, pad, L === 1 ? [-1, 1] : [0, L - 1], range, (y) => percent(y, 0), 4);
  leadAxis(root, width, height, X, s.lead_times);
  for (const [name, aim, shade] of [["coverage_90", 0.9, "--b2"], ["coverage_80", 0.8, "--joint"]]) {
    const where = { x1: pad.l, x2: width - pad.r, y1: Y(aim), y2: Y(aim) };
    root.append(svg("line", { ...where, stroke: css(shade), "stroke-dasharray": "3 3", "stroke-opacity": 0.7 }));
    const points = rows.map((r, l) => [l, r[name]]);
    root.append(svg("path", { d: through(points, X, Y), fill: "none", stroke: css(shade), "stroke-width": 2.4 }));
    if (L === 1) root.append(svg("circle", { cx: X(0), cy: Y(rows[0][name]), r: 4, fill: css(shade) }));
  }
  root.addEventListener("pointermove", (e) => {
    const l = Math.max(0, Math.min(L - 1, Math.round(back(e))));
    tip(e, `${span(s.lead_times[l])} ahead\n80 % band holds ${percent(rows[l].coverage_80)}\n90 % band holds ${percent(rows[l].coverage_90)}`);
  });
  leave(root);
  root.setAttribute("aria-label", `Share of outcomes inside the 80 % and the 90 % band by lead; the dashed lines are what is aimed at.`);
  $("coverage-key").replaceChildren(
    lineKey("--joint", "", 2.5, "in the 80 % band"), lineKey("--b2", "", 2.5, "in the 90 % band"),
    lineKey("--quiet", "4 3", 1.6, "aimed at"));
}
/* how the observations spread over the bins between the quantiles, per unit of probability */
function drawPit(pit) {
  const edges = [0, ...data.levels, 1], dense = pit.map((share, i) => share / (edges[i + 1] - edges[i]));
  const height = 120, pad = { l: 46, r: 14, t: 8, b: 20 }, [root, width] = canvas($("pit"), height, "");
  const { X, Y } = frame(root, width, height, pad, [0, 1], [0, Math.max(1.5, ...dense) * 1.05], (y) => fmt(y, 1), 3);
  dense.forEach((y, i) => {
    const where = { x: X(edges[i]) + 1, width: Math.max(1, X(edges[i + 1]) - X(edges[i]) - 2), y: Y(y), height: Y(0) - Y(y) };
    const bar = svg("rect", { ...where, fill: css("--joint"), "fill-opacity": 0.75 });
    const range = `${percent(edges[i], 0)} to ${percent(edges[i + 1], 0)}`;
    bar.addEventListener("pointermove", (e) => tip(e, `between the quantiles ${range}\n${percent(pit[i])} of outcomes`));
    root.append(bar);
  });
  root.append(svg("line", { x1: X(0), x2: X(1), y1: Y(1), y2: Y(1), stroke: css("--ink"), "stroke-dasharray": "2 4" }));
  for (const x of [0, 0.5, 1]) root.append(svg("text", { x: X(x), y: height - 5, "text-anchor": x === 0 ? "start" : x === 1 ? "end" : "middle" }, percent(x, 0)));
  leave(root);
  root.setAttribute("aria-label", `Spread of the outcomes over the bins between the quantiles: ${pit.map((x) => percent(x, 0)).join(", ")}; even is right.`);
  const tied = vari().q[0].some((x) => x === 0) && dense[0] > 1.5 ? " Outcomes that equal a quantile, as zeros do, count half on each side of it: many zeros make the first bar tall." : "";
  $("pit").append(note(`Outcomes between the quantiles, per unit of probability: at 1 all are as frequent as foretold.${tied}`));
}
