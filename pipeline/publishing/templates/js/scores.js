/* How good it has been: errors by lead beside the baselines, on held-out days or in replay, and since publication. */
const METRICS = { mae: "Mean error", rmse: "RMSE", bias: "Bias", pinball: "Pinball", skill: "Skill" };

/* a figure of one model at one lead (null: all leads together) */
function figure(s, model, lead, metric) {
  const of = (m) => (lead === null ? s.all[m] : s.leads[m][lead]);
  if (metric !== "skill") return of(model)[metric];
  const rivals = s.models.filter((m) => !["joint", "champion", "published"].includes(m)).map((m) => of(m).mae).filter(isNum);
  const best = Math.min(...rivals);
  return rivals.length && best > 0 && isNum(of(model).mae) ? 1 - of(model).mae / best : null;
}
const SOURCES = { heldout: "Held-out days", replay: "Replay" };
/* the scores of the chosen source, or of the one there is */
function scored() {
  const found = vari().scores;
  return found[state.source] || Object.values(found)[0] || null;
}
function fillSources() {
  const known = Object.keys(SOURCES).filter((k) => vari().scores[k]), shown = vari().scores[state.source] ? state.source : known[0];
  $("sources").hidden = known.length < 2;
  $("sources").replaceChildren(...known.map((k) => chosen(SOURCES[k], k === shown, { "data-source": k }, () => {
    state.source = k;
    press("sources", "source", k);
    drawSkill();
    drawCalibration();
  })));
}
function drawSkill() {
  const v = vari(), s = scored(), host = $("skill"), m = state.metric;
  for (const id of ["skill-key", "skill-table", "lead-table", "verified"]) $(id).replaceChildren();
  $("skill-sub").textContent = s ? s.sentence : "";
  if (!s || !s.models.length) return host.replaceChildren(note("Not evaluated yet."));
  const L = s.lead_times.length, all = s.models.flatMap((k) => s.lead_times.map((_, l) => figure(s, k, l, m))).filter(isNum);
  if (!all.length) return host.replaceChildren(note("No observation to compare with."));
  const height = 230, pad = { l: 56, r: 14, t: 12, b: 30 }, [root, width] = canvas(host, height, "");
  const range = withRoom(m === "bias" || m === "skill" ? [...all, 0] : all, 0.1, m === "bias" || m === "skill" ? undefined : 0);
  const label = (y, places) => (m === "skill" ? percent(y, 0) : fmt(y, places));
  const { X, Y, back } = frame(root, width, height, pad, L === 1 ? [-1, 1] : [0, L - 1], range, label, 4);
  leadAxis(root, width, height, X, s.lead_times);
  for (const k of [...s.models].reverse()) drawModel(root, k, s.lead_times.map((_, l) => [l, figure(s, k, l, m)]), X, Y);
  root.addEventListener("pointermove", (e) => {
    const l = Math.max(0, Math.min(L - 1, Math.round(back(e))));
    const value = (k) => (m === "skill" ? percent(figure(s, k, l, m)) : fmt(figure(s, k, l, m), v.score_places));
    tip(e, `${span(s.lead_times[l])} ahead\n` + s.models.map((k) => `${modelName(k)}: ${value(k)}`).join("\n"));
  });
  leave(root);
  const models = s.models.map(modelName).join(", ");
  root.setAttribute("aria-label", `${METRICS[m]} by lead for ${models}; the table below holds the numbers.`);
  $("skill-key").replaceChildren(
    ...s.models.map((k) => modelKey(k, k === "joint" ? 3 : 2)), ...(m === "skill" ? [make("span", {}, "against the best baseline")] : v.unit ? [make("span", {}, `in ${v.unit}`)] : []));
  fillScores(s);
  drawVerified();
}
function leadAxis(root, width, height, X, leadTimes) {
  const L = leadTimes.length, every = Math.ceil(L / Math.max(2, Math.floor(width / 80)));
  for (let l = 0; l < L; l += every) {
    const anchor = l === 0 && L > 1 ? "start" : l === L - 1 && L > 1 ? "end" : "middle";
    root.append(svg("text", { x: X(l), y: height - 9, "text-anchor": anchor }, span(leadTimes[l])));
  }
}
function drawModel(root, model, points, X, Y) {
  const [stroke, dash] = modelLine(model), main = model === "joint" || model === "published";
  root.append(svg("path", { d: through(points, X, Y), fill: "none", stroke: css(stroke), "stroke-width": main ? 3 : 1.9, "stroke-dasharray": dash }));
  if (points.length > 12) return;
  for (const [x, y] of points) if (isNum(y)) root.append(svg("circle", { cx: X(x), cy: Y(y), r: main ? 3.4 : 2.4, fill: css(stroke) }));
}
function fillScores(s) {
  const v = vari(), titles = ["Mean error", "RMSE", "Bias", "Pinball", "Joint saves"];
  const saved = (base, r, k) => (k === "joint" || !base || !isNum(base.mae) || !(r.mae > 0) ? "" : signed((100 * (r.mae - base.mae)) / r.mae, 1) + " %");
  const cells = (r, k, base) =>
    [fmt(r.mae, v.score_places), fmt(r.rmse, v.score_places), signed(r.bias, v.score_places), fmt(r.pinball, v.score_places), saved(base, r, k)].map((t) => cell(t));
  const chosenOne = s.models.includes("published") ? "published" : v.model;
  const published = (k) => (k === chosenOne && k !== "published" ? " · published" : "");
  $("skill-table").replaceChildren(
    make("thead", {}, headRow(["All leads", ...titles], 1)),
    make("tbody", {}, ...s.models.map((k) =>
      make("tr", { class: k === chosenOne ? "pub" : null }, make("th", { scope: "row" }, modelName(k) + published(k)), ...cells(s.all[k], k, s.all.joint)))));
  $("lead-table").replaceChildren(
    make("thead", {}, headRow(["Lead", "Model", ...titles], 2)),
    make("tbody", {}, ...s.lead_times.flatMap((t, l) => s.models.map((k, i) =>
      make("tr", {}, make("th", { scope: "row" }, i ? "" : span(t)), make("td", {}, modelName(k)), ...cells(s.leads[k][l], k, s.leads.joint && s.leads.joint[l]))))));
}
function drawVerified() {
  const v = vari(), w = v.verified, host = $("verified"), title = make("h3", {}, "Since publication");
  if (!w) {
    const text = "Not verified yet: no published forecast of this target has been compared with observations.";
    return host.replaceChildren(title, note(text));
  }
  const rows = w.rows.map((r) =>
    make("tr", { class: r.model === "published" ? "pub" : null }, make("th", { scope: "row" }, modelName(r.model)),
      cell(fmt(r.mae, v.score_places)), cell(fmt(r.rmse, v.score_places)), cell(percent(r.coverage_80)), cell(fmt(r.n, 0))));
  const head = make("thead", {}, headRow(["Model", "Mean error", "RMSE", "In 80 % band", "Cases"], 1));
  host.replaceChildren(title, note(w.sentence), make("div", { class: "scroll" }, make("table", {}, head, make("tbody", {}, ...rows))));
}
