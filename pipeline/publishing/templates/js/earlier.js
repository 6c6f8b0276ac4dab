/* Earlier forecasts of the place, each beside what came. */
function drawEarlier() {
  const d = dom(), v = vari(), n = state.node, N = nodeCount(), host = $("earlier");
  const shown = d.earlier.map((e, i) => ({ ...e, ...(v.earlier[i] || { q: null }) })).filter((e) => e.q && isNum(e.q[1][n]));
  $("earlier-sub").textContent = shown.length
    ? `${v.label} at ${d.nodes[n]}: the last ${shown.length === 1 ? "forecast" : shown.length + " forecasts"} before this one.`
    : "";
  if (!shown.length) return host.replaceChildren(note("No forecast of this place was published before this one."));
  const at4 = (array, l) => (array ? array[l * N + n] : null);
  const all = shown.flatMap((e) => e.valid.flatMap((_, l) => [at4(e.q[0], l), at4(e.q[2], l), at4(e.came, l)])).filter(isNum);
  const range = withRoom(all, 0.07, 0);
  host.replaceChildren(...shown.map((e) => {
    const box = make("figure", { class: "small-fan" }), plot = make("div", { class: "plot" }), text = make("figcaption", {}, at(e.issue_time));
    box.append(text, plot);
    requestAnimationFrame(() => smallFan(plot, text, e, range, (array, l) => at4(array, l)));
    return box;
  }));
}
function smallFan(plot, text, e, range, value) {
  const height = 150, pad = { l: 40, r: 8, t: 8, b: 24 }, [root, width] = canvas(plot, height, "");
  const edges = [e.issue_time, e.valid[e.valid.length - 1]];
  const { X, Y, back } = frame(root, width, height, pad, edges, range, fmt, 4);
  timeAxis(root, width, height, pad, X, edges, Math.max(2, Math.floor(width / 70)));
  const line = (array) => e.valid.map((t, l) => [t, value(array, l)]);
  root.append(svg("path", { d: ribbon(line(e.q[0]), line(e.q[2]), X, Y), fill: css("--fan2") }));
  root.append(svg("path", { d: through(line(e.q[1]), X, Y), fill: "none", stroke: css("--joint"), "stroke-width": 2.2 }));
  const came = line(e.came).filter((p) => isNum(p[1]));
  for (const [t, y] of came) root.append(svg("circle", { cx: X(t), cy: Y(y), r: 3, fill: css("--came"), stroke: css("--card") }));
  const lead = (t) => e.valid.indexOf(t);
  const inside = came.filter(([t, y]) => y >= value(e.q[0], lead(t)) && y <= value(e.q[2], lead(t))).length;
  const told = came.length ? `${inside} of ${came.length} inside the 80 % band` : "nothing came yet";
  text.replaceChildren(make("strong", {}, at(e.issue_time)), make("span", { class: "quiet" }, told));
  root.setAttribute("aria-label", `Forecast issued ${at(e.issue_time)}: ${told}.`);
  root.addEventListener("pointermove", (event) => {
    const l = nearestIndex(e.valid, back(event)), c = value(e.came, l);
    const band = `80 % band ${show(value(e.q[0], l))} to ${show(value(e.q[2], l))}`;
    tip(event, `${at(e.valid[l])}\nmedian ${withUnit(value(e.q[1], l))}\n${band}${isNum(c) ? `\ncame ${withUnit(c)}` : ""}`);
  });
  leave(root);
}
