"use strict";
const $ = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const utc = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
const figure = (value) => value === null || value === undefined ? "–" : Number(value).toPrecision(4);
const age = (seconds) => seconds === null || seconds === undefined ? "–" : seconds < 5400 ? `${Math.round(seconds / 60)} min`
  : seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} d`;
const bytes = (count) => count > 1e9 ? `${(count / 1e9).toFixed(2)} GB` : count > 1e6 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e3).toFixed(0)} kB`;

function table(titles, rows, numeric = []) {
  if (!rows.length) return element("p", {className: "quiet", textContent: "Nothing yet."});
  const head = element("tr", {}, ...titles.map((t, k) => element("th", {textContent: t, scope: "col", className: numeric.includes(k) ? "num" : ""})));
  const lines = rows.map((row) => element("tr", {}, ...row.map((cell, k) => {
    const made = element("td", {className: numeric.includes(k) ? "num" : ""});
    made.append(cell instanceof Node ? cell : String(cell));
    return made;
  })));
  return element("div", {className: "wide"}, element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)));
}

function drawPanels(found) {
  $("title").textContent = found.title;
  const world = encodeURIComponent(found.world);
  $("actions").replaceChildren(...[["Trigger", `/dags/${world}__ingest`], ["Backfill", `/dags/${world}__replay/backfills`], ["Approve", "/required_actions"]]
    .map(([text, href]) => element("a", {href, target: "_top", textContent: text})));
  $("alerts").replaceChildren(found.alerts.length ? table(["level", "rule", "about", "since", "what was found", "see"], found.alerts.map((a) =>
    [a.level, a.rule, [a.domain, a.variable, a.subject].filter(Boolean).join(" ") || "–", utc(a.since), a.text, a.mend.replace(/^.*\//, "")]))
    : element("p", {className: "quiet", textContent: "None stands."}));
  $("skill").replaceChildren(table(["target", "MAE", "best baseline", "its MAE", "skill", "80 % holds"], found.scores.map((row) => {
    const [name, mae] = Object.entries(row.baselines).filter(([, v]) => v).sort((a, b) => a[1] - b[1])[0] || ["–", null];
    return [`${row.domain} ${row.variable}`, figure(row.mae), name, figure(mae), mae ? `${(100 * (1 - row.mae / mae)).toFixed(1)} %` : "–",
      row.coverage_80 === null || row.coverage_80 === undefined ? "–" : `${(100 * row.coverage_80).toFixed(0)} %`];
  }), [1, 3, 4, 5]));
  $("inputs").replaceChildren(table(["domain", "newest good value", "present"], Object.entries(found.inputs).map(([name, row]) =>
    [name, age(row.age_seconds), row.share_present === undefined ? "–" : `${(100 * row.share_present).toFixed(1)} %`]), [1, 2]));
  $("holes").replaceChildren(table(["source", "missing", "holes", "since", "tries", "asked for until"], holes(found.holes), [2, 4]));
  const {champion, decisions, promotions} = found.models, last = decisions[0];
  $("champion").replaceChildren(champion
    ? element("div", {}, element("p", {className: "sub", textContent: `${champion.model_id}, from ${champion.as_of} (${champion.how}): ${champion.reason}`}),
      targets(champion.verdicts.map((v) => ({...v, says: "", short: (v.published === "joint" ? v.reasons[0] : v.reasons.at(-1)) || "–"}))))
    : element("p", {className: "quiet", textContent: "No champion yet."}));
  if (promotions.length) $("champion").append(folded("How the champions followed one another",
    table(["as of", "model", "how", "why"], promotions.map((p) => [short(p.as_of), p.model_id, p.how, p.reason]))));
  $("verdict").replaceChildren(...(last ? verdict(last, decisions.slice(1)) : [element("p", {className: "quiet", textContent: "Nothing was decided yet."})]));
  $("candidates").replaceChildren(table(["trained as of", "model", "recipe", "epochs", "validation error by epoch"], found.models.candidates.map((c) =>
    [short(c.as_of), c.model_id, c.recipe || "–", c.epochs ?? "–", curve(c.history || [])]), [3]));
  $("running").replaceChildren(found.running.length ? table(["model", "epochs", "newest epoch ended", "validation error by epoch"],
    found.running.map((r) => [r.model_id, r.epoch, short(r.since), curve(r.history, 1)]), [1]) : element("p", {className: "quiet", textContent: "No training runs."}));
  $("days").replaceChildren(table(["target", "skill per day", "newest", "80 % holds per day", "newest"], found.skill.map((row) => {
    const name = `${row.domain} ${row.variable}`;
    return [name, days(row, "skill", `${name}: skill against the best baseline`), share(row.days.at(-1).skill), days(row, "coverage", `${name}: share inside the 80 % interval`, [0.5, 1]),
      share(row.days.at(-1).coverage)];
  }), [2, 4]));
  $("verified").replaceChildren(table(["target", "published MAE", "joint model", "cells", "missing"], came((found.verified || {}).headline || []), [1, 2, 3, 4]));
  $("notes").replaceChildren(table(["note"], found.notes.map((note) => [note])));
  $("cost").replaceChildren(table(["day", "seconds", "most of it"], Object.entries(found.cost).reverse().slice(0, 14).map(([day, steps]) => {
    const parts = Object.entries(steps).sort((a, b) => b[1] - a[1]);
    return [day, parts.reduce((sum, [, s]) => sum + s, 0).toFixed(0), parts.slice(0, 3).map(([step, s]) => `${step} ${s.toFixed(0)}`).join(", ")];
  }), [1]));
  $("storage").replaceChildren(table(["area", "at rest"], Object.entries(found.storage).map(([area, size]) => [area, bytes(size)]), [1]));
}

function verdict(last, earlier) {
  const said = element("p", {className: "sub"}, element("b", {textContent: `${last.model_id} as of ${short(last.as_of)}: ${last.says}`}), `. ${last.reason}`);
  if (last.outcome === "pending") said.append(" ", element("a", {href: "/required_actions", target: "_top", textContent: "Approve or reject it"}));
  return [said, targets(last.targets.map((t) => ({...t, says: t.takes ? "taken" : "kept back"}))), ...(earlier.length ? [folded("Earlier verdicts",
    table(["as of", "model", "what became of it", "why"], earlier.map((d) => [short(d.as_of), d.model_id, d.says, d.reason])))] : [])];
}

function targets(rows) {
  const list = (texts) => element("ul", {}, ...texts.map((text) => element("li", {textContent: text})));
  return element("dl", {className: "targets"}, ...rows.flatMap((row) => [
    element("dt", {}, element("b", {textContent: `${row.domain} ${row.variable}`}), ` publishes ${row.published.replace("_", " ")}`, ...(row.says ? [", candidate ", element("b", {textContent: row.says})] : [])),
    element("dd", {}, row.short, ...(row.reasons.length > 1 ? [folded(`all ${row.reasons.length} reasons`, list(row.reasons))] : []))]));
}

const folded = (title, ...content) => element("details", {}, element("summary", {textContent: title}), ...content);

function holes(found) {
  const groups = new Map();
  for (const hole of found.open) {
    const what = hole.kind === "cells" ? hole.what : "deliveries", key = `${hole.source} ${what}`;
    const group = groups.get(key) || {source: hole.source, what, count: 0, since: hole.first_seen, tries: 0, until: hole.expires};
    groups.set(key, {...group, count: group.count + 1, since: group.since < hole.first_seen ? group.since : hole.first_seen,
      tries: Math.max(group.tries, hole.tries), until: group.until > hole.expires ? group.until : hole.expires});
  }
  const given = Object.entries(found.days_given_up).map(([source, days]) => [source, "days given up", days, "", "", ""]);
  const expired = found.expired.length ? [["all", "expired", found.expired.length, "", "", ""]] : [];
  return [...[...groups.values()].map((g) => [g.source, g.what, g.count, short(g.since), g.tries, short(g.until)]), ...expired, ...given];
}

function came(rows) {
  const joint = new Map(rows.filter((r) => r.model === "joint").map((r) => [`${r.domain} ${r.variable}`, r.mae]));
  return rows.filter((r) => r.model === "published").map((r) =>
    [`${r.domain} ${r.variable}`, figure(r.mae), figure(joint.get(`${r.domain} ${r.variable}`)), r.n, r.missing]);
}

const short = (instant) => instant.slice(0, 16).replace("T", " ");
const share = (value) => value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`;

function days(row, key, says, bounds) {
  const values = row.days.map((day) => day[key]).filter((v) => typeof v === "number");
  return values.length < 2 ? "–" : line(values, `${says}, from ${row.days[0].day} to ${row.days.at(-1).day}`, bounds);
}

function curve(history, least = 2) {
  const domains = Object.keys((history[0] || {}).validation || {});
  if (history.length < least) return "–";
  return element("div", {}, ...domains.map((domain) => {
    const values = history.map((row) => (row.validation[domain] || {}).relative_to_anchor).filter((v) => typeof v === "number");
    return element("div", {className: "curve"}, element("span", {textContent: `${domain} ${figure(values.at(-1))}`}),
      line(values, `${domain}: validation error relative to the anchor's`));
  }));
}

function line(values, name, bounds = []) {
  const low = Math.min(...values, ...bounds), span = Math.max(...values, ...bounds) - low || 1;
  const points = values.map((v, k) => `${(k / Math.max(1, values.length - 1) * 100).toFixed(1)},${(22 - (v - low) / span * 20).toFixed(1)}`).join(" ");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), drawn = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  for (const [key, value] of Object.entries({viewBox: "0 0 100 24", preserveAspectRatio: "none", height: "24", role: "img",
    "aria-label": `${name}: ${figure(values[0])} to ${figure(values.at(-1))}`})) svg.setAttribute(key, value);
  drawn.setAttribute("class", "line");
  drawn.setAttribute("points", points);
  drawn.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(drawn);
  return svg;
}

