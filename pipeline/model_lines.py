"""What `cubecast models` says to people: the same content that programs get, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.contracts.forecasts import JOINT
from pipeline.score_lines import SURE_TITLES, score_tables, sure_cells
from pipeline.text_tables import table

Content = Mapping[str, Any]
_BEST = 10


def list_lines(content: Content) -> str:
    """The candidates, what is published, and how the champions followed one another."""
    world = content["world"]
    if not content["models"]:
        return f"no model of {world} by {content['as_of']}; try: cubecast train --world {world}"
    models = table(("", "model", "cut-off", "recipe", "held-out MAE (best baseline)"), map(_model_row, content["models"]))
    champion = content["champion"] or f"none yet; try: cubecast promote --world {world}"
    parts = [f"{world} as of {content['as_of']}: champion {champion}", models]
    if content["published"]:
        rows = [(f"{v['domain']} {v['variable']}", v["published"], v["model_id"]) for v in content["published"]]
        parts.append(table(("target", "published", "of model"), rows))
    for proposal in content["proposals"]:
        ways = f"cubecast models approve|reject {proposal['model_id']} --world {world} --reason TEXT"
        parts.append(f"waiting until {proposal['expires']}: {proposal['model_id']}: {proposal['reason']}; {ways}")
    return "\n\n".join(parts + _history(content))


def show_lines(content: Content, by: str = "all") -> str:
    """The card, every figure of the scorecard told apart in one way, the verdicts with their reasons, and the promotions."""
    card, score = content["card"], content["scorecard"]
    plain = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in card.items()]
    parts = [f"model {content['model_id']} of {content['world']}", table(("card", ""), [(n, v) for n, v in plain if len(v) <= 120])]
    if score is None:
        again = f"cubecast evaluate --world {content['world']} --model-id {content['model_id']}"
        return "\n\n".join([*parts, f"never evaluated; try: {again}", *_history(content)])
    periods = ", ".join(f"{name} {first} to {last}" for name, (first, last) in score["periods"].items())
    parts += [f"scored on the {score['fold']} fold: {periods}; told apart with --by, all of it with --json", *score_tables(score, by)]
    parts += [outage_table(found, f"{name}, ") for name, found in content["outages"].items()]
    parts += _verdict_lines(content["verdicts"])
    if content["decisions"]:
        rows = [(d["as_of"], d["outcome"], d["champion"] or "-", d["decided"] or "-", d["reason"]) for d in content["decisions"]]
        parts.append(table(("decided as of", "outcome", "champion", "by a person", "reason"), rows))
    return "\n\n".join(parts + _history(content))


def explain_lines(content: Content) -> str:
    """Per domain the mixing weights: alpha's range over nodes, beta and w lead by lead."""
    parts = [
        f"model {content['model_id']} of {content['world']}, recipe {content['recipe']}, its digest {content['config_digest']}",
        "x_fuse = alpha x_seq + (1 - alpha) x_space + sum of w x_mod; y = beta y_seq + (1 - beta) y_space + sum of w y_mod",
    ]
    for name, found in content["domains"].items():
        alpha = sorted(zip(found["alpha"], found["node_ids"], strict=True))
        (low, lowest), (high, highest) = alpha[0], alpha[-1]
        middle = alpha[len(alpha) // 2][0]
        beta_by_lead = [sum(row) / len(row) for row in zip(*found["beta"], strict=True)]
        shown = _some_leads(len(beta_by_lead))
        titles = ("", "w of x", *(f"lead {lead + 1}" for lead in shown))
        rows = [("beta, mean of nodes", "", *(_figure(beta_by_lead[lead]) for lead in shown))]
        rows += [(f"w of {k}", _figure(found["w_x"][k]), *(_figure(w[lead]) for lead in shown)) for k, w in found["w_y"].items()]
        parts.append(f"{name}: alpha {low:.3g} ({lowest}) to {high:.3g} ({highest}), median {middle:.3g}\n" + table(titles, rows))
        parts += [outage_table(found["outages"])] if found["outages"] else []
    return "\n\n".join(parts)


def outage_table(outages: Content, whose: str = "") -> str:
    """Per target the error with everything, and with each modality switched off."""
    targets = {target: row["mae"] for found in outages.values() for target, row in found.items()}
    rows = [(t, _figure(mae), *(_figure(found.get(t, {}).get("mae_without")) for found in outages.values())) for t, mae in targets.items()]
    return f"{whose}MAE on the held-out windows, and with each switched off\n" + table(("", "all", *(f"no {k}" for k in outages)), rows)


def _some_leads(count: int, most: int = 8) -> list[int]:
    """All leads, or some of them evenly from the first to the last."""
    return list(range(count)) if count <= most else [round(k * (count - 1) / (most - 1)) for k in range(most)]


def export_lines(content: Content) -> str:
    """What was written where."""
    rows = [(name, f"{made['bytes']:,}", ", ".join(made["files"])) for name, made in content["domains"].items()]
    return f"model {content['model_id']} of {content['world']} in {content['folder']}\n\n" + table(("domain", "bytes", "files"), rows)


def search_lines(content: Content) -> str:
    """The best options, ready for a world file, the best trials, and those that failed with their reasons."""
    if not content["trials"]:
        return f"no trial of {content['world']} was finished; give more --minutes"
    best = sorted(content["trials"], key=lambda t: t["error"])[:_BEST]
    names = list(best[0]["options"])
    rows = [(_figure(t["error"]), *(_figure(v) if isinstance(v, float) else str(v) for v in t["options"].values())) for t in best]
    inline = ", ".join(f"{k} = {json.dumps(v)}" for k, v in {**content["given"], **content["options"]}.items())
    told = f"{len(content['trials'])} trials of recipe {content['recipe']} on {content['world']}; error relative to the anchor, validation fold"
    failed = [", ".join(f"{k}={v}" for k, v in t["options"].items()) + f"\n  {t['reason']}" for t in content["failed"]]
    parts = [told, table(("error", *names), rows), f"for the world file:\nrecipe_options = {{ {inline} }}"]
    parts += [f"{len(failed)} trials could not be trained:\n" + "\n".join(failed)] if failed else []
    return "\n\n".join([*parts, f"kept in {content['folder']}"])


def compare_lines(content: Content) -> str:
    """Per target both errors, and whether the difference is sure."""
    titles = ("target", "A", "B", "A - B", *SURE_TITLES[1:], "days", "left out", "")
    notes = ["95 % of all: these intervals hold for all targets at once (Bonferroni)", *(f"note: {note}" for note in content["notes"])]
    head = f"MAE of the joint models on the held-out windows of both\nA {content['first']}\nB {content['second']}"
    return "\n\n".join([head, table(titles, map(_target_row, content["targets"])), *notes])


def change_lines(content: Content) -> str:
    """The entry in force, whether it was made just now, and then what spoke for each target, difference by difference."""
    entry = content["promotion"]
    joint = sum(verdict["published"] == JOINT for verdict in entry["verdicts"])
    before = f" after {entry['previous']}" if entry["previous"] else ""
    done = "is the champion" if content["outcome"] == "done" else "is the champion already, nothing changed:"
    said = f"{entry['model_id']} {done} from {entry['as_of']} on{before}, published for {joint} of {len(entry['verdicts'])} targets: {entry['reason']}"
    return "\n\n".join([said, *(_verdict_lines(entry["verdicts"]) if content["outcome"] == "done" else [])])


def _verdict_lines(verdicts: Sequence[Content]) -> list[str]:
    """What is published for each target, with every reason."""
    reasons = ["".join(f"\n  - {reason}" for reason in verdict["reasons"]) for verdict in verdicts]
    return [f"{v['domain']} {v['variable']}: {v['published']} is published{why}" for v, why in zip(verdicts, reasons, strict=True)]


def rejection_lines(content: Content) -> str:
    """What became of a proposal."""
    decision = content["decision"]
    stays = f"champion {decision['champion']} stays" if decision["champion"] else "there is no champion yet"
    return f"{decision['model_id']}, proposed as of {decision['as_of']}, is rejected: {decision['reason']}; {stays}"


def _history(content: Content) -> list[str]:
    rows = [(p["as_of"], p["model_id"], p["previous"] or "-", p["how"], p["reason"]) for p in content["promotions"]]
    return [table(("champion from", "model", "before it", "how", "reason"), rows)] if rows else []


def _model_row(model: Content) -> tuple[str, ...]:
    scores = "; ".join(_headline(row) for row in model["headline"]) or ("nothing scored" if model["evaluated"] else "never evaluated")
    return ("*" if model["champion"] else "", model["model_id"], model["as_of"], str(model["recipe"] or "-"), scores)


def _headline(row: Content) -> str:
    rivals = [mae for mae in row["baselines"].values() if mae is not None]
    return f"{row['domain']} {row['variable']} {_figure(row['mae'])}" + (f" ({_figure(min(rivals))})" if rivals else "")


def _target_row(row: Content) -> tuple[str, ...]:
    target, left_out = f"{row['domain']} {row['variable']} ({row['unit']})", str(row["left_out"])
    sure = row["difference"]
    if sure is None:
        return (target, *["-"] * (2 + len(SURE_TITLES)), str(row["days"]), left_out, row["reason"])
    low, high = row["all_low"], row["all_high"]
    word = "too few days to say" if low is None else "A is better" if high < 0 else "B is better" if low > 0 else "not sure"
    return (target, _figure(row["first"]), _figure(row["second"]), *sure_cells(sure, row), str(row["days"]), left_out, word)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
