/* Holes: the share of places with a good value at each step of the recent past, one strip per variable. */
function drawHoles() {
  const host = $("holes"), lines = data.domains.flatMap((d) => d.variables.map((v) => [d, v]));
  host.replaceChildren(...lines.map(([d, v]) => {
    const lacking = v.holes.worst.map(([node, share]) => `${node} ${percent(share, 0)}`).join(", ");
    const mean = v.holes.share.length ? v.holes.share.reduce((a, b) => a + b, 0) / v.holes.share.length : 0;
    const strip = make("div", { class: "strip" });
    const told = `${percent(mean, 0)} present${lacking ? "; least at " + lacking : ""}`;
    requestAnimationFrame(() => drawStrip(strip, d, v, told));
    return make("div", { class: "hole" }, make("div", {}, make("strong", {}, d.title), ` ${v.label}`), strip, note(told + "."));
  }));
}
function drawStrip(strip, d, v, told) {
  const height = 22, [root, width] = canvas(strip, height, `${d.title}, ${v.label}: ${told}.`), count = v.holes.share.length;
  v.holes.share.forEach((share, i) => {
    const x = (i / count) * width;
    root.append(svg("rect", { x, y: 0, width: Math.max(0.5, width / count - 0.5), height, fill: css("--grid") }));
    root.append(svg("rect", { x, y: height * (1 - share), width: Math.max(0.5, width / count - 0.5), height: height * share, fill: css("--joint") }));
  });
  root.addEventListener("pointermove", (e) => {
    const box = root.getBoundingClientRect(), i = Math.min(count - 1, Math.floor(((e.clientX - box.left) / box.width) * count));
    if (i >= 0) tip(e, `${at(d.holes[i])}\n${percent(v.holes.share[i], 0)} of the places have a good value`);
  });
  leave(root);
}
