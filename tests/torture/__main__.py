"""`make torture`: every fault that Cubecast must bear, many times over, counted; the table goes to `--table`, exit code 1 if anything was wrong.

python -m tests.torture [--parts kills-disk,faults,…] [--scale 0.1] [--seed 1] [--found FOLDER] [--table FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contracts.world_files import load_world
from tests.torture import backfill, corpus, damages, full_disks, kills, s3_faults, writers
from tests.torture.proxy import FAULTS
from tests.torture.scene import scene
from tests.torture.zygote import LONGEST, ROOT
from tests.world import tiny_world

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: how much of everything, and where."""

    seed: int
    scale: float
    folder: Path
    victims: tuple[str, ...] = ()

    def count(self, whole: int) -> int:
        """So many of a whole run's trials."""
        return max(1, round(whole * self.scale))


def _kills(run: Run, where: str) -> Iterator[Row]:
    with scene(run.folder, days=8 if run.scale == 1 else 2) as made:
        for step, tally in kills.kill_steps(made, where, kills=run.count(100), seed=run.seed).items():
            yield {
                "store": where,
                "step": step,
                "kills": tally.kills,
                "at a moment": tally.by_time,
                "at a write": tally.kills - tally.by_time,
                "reads beside": tally.reads,
                "lost": len(tally.lost),
                "torn": len(tally.torn),
                "mixed": len(tally.mixed),
                "wrong": tally.wrong,
            }


def _faults(run: Run) -> Iterator[Row]:
    with scene(run.folder, days=4 if run.scale == 1 else 2) as made:
        for fault in [fault for fault in FAULTS if fault in (run.victims or FAULTS)]:
            tally = s3_faults.fail_requests(made, trials=run.count(100), seed=run.seed, faults=(fault,))[fault]
            yield {
                "fault": fault,
                "trials": tally.trials,
                "requests struck": tally.struck,
                "right data all the same": tally.healed,
                "clear error, old state, right when run again": tally.refused,
                f"not ended in {LONGEST:.0f} s, old state, right when run again": len(tally.slow),
                "wrong data": len(tally.wrong),
                "writes without checksum": len(tally.unproved),
                "longest, s": round(tally.longest, 1),
                "wrong": [*tally.wrong, *tally.unproved],
            }


def _damages_disk(run: Run) -> Iterator[Row]:
    from tests.flow.chain import run_chain, settings_for

    world_file, store = tiny_world(run.folder), run.folder / "store"
    run_chain(world_file, settings_for(store))
    most = None if run.scale == 1 else run.count(100)
    tally = damages.damage_every_object(str(store), load_world(str(world_file)), seed=run.seed, most=most)
    yield _damage_row("disk, all nine steps", tally)


def _damages_s3(run: Run) -> Iterator[Row]:
    most = None if run.scale == 1 else run.count(100)
    with damages.nine_steps_on_s3(run.folder) as (store, world):
        tally = damages.damage_every_object(store, world, seed=run.seed, kinds_inside=1, most=most)
    yield _damage_row("S3, all nine steps", tally)


def _damage_row(store: str, tally: damages.Tally) -> Row:
    return {
        "store": store,
        "objects": tally.objects,
        **{kind: tally.done[kind] for kind in damages.KINDS},
        "of these in repositories": tally.inside,
        "refused by a reader of the cube": tally.unread,
        "told, by another name": len(tally.elsewhere),
        "not told": len(tally.missed),
        "read as other data": len(tally.misread),
        "wrong": [*tally.missed, *tally.misread],
    }


def _full_disks(run: Run) -> Iterator[Row]:
    with scene(run.folder, days=3) as made, full_disks.small_disk(run.folder / "small") as small:
        limits: list[tuple[full_disks.Limit, Path | None]] = [("full disk", small), ("file limit", run.folder / "limits")]
        for limit, disk in limits:
            if disk is None:
                yield {"limit": limit, "steps refused": "not run: no right to mount a file system", "wrong": []}
                continue
            tally = full_disks.run_out_of_room(made, limit, refusals=run.count(60), seed=run.seed, disk=disk)
            yield {"limit": limit, "steps refused": tally.refused, "finished in time": tally.finished, "wrong": tally.wrong}


def _writers(run: Run) -> Iterator[Row]:
    with scene(run.folder, days=4) as made:
        for where in ("disk", "S3"):
            for name, race in (("same day", writers.race_same_day), ("days or sources of their own", writers.race_apart)):
                tally = race(made, where, rounds=run.count(2))
                yield {
                    "store": where,
                    "writers": f"two, {name}",
                    "races": tally.races,
                    "both went well": tally.landed,
                    "one was told who came first": tally.told,
                    "wrong": tally.wrong,
                }
            commits = run.count(25)
            for what, (there, again) in writers.four_writers(made, where, commits=commits).items():
                yield {
                    "store": where,
                    "writers": f"four x {commits} {what}",
                    "races": 1,
                    "there afterwards": there,
                    "tried again": again,
                    "wrong": [] if there == 4 * commits else [f"{there} {what} of {4 * commits} are there"],
                }


def _hostile(run: Run) -> Iterator[Row]:
    tally = corpus.take_corpus()
    yield {
        "files": sum(tally.fates.values()) + len(tally.wrong),
        **{f"{fate}": count for fate, count in sorted(tally.fates.items())},
        "accepted wrong": len(tally.wrong),
        "longest, s": f"{tally.longest:.1f} ({tally.slowest})",
        "memory grew, MiB": round(tally.memory),
        "wrong": tally.wrong,
    }


def _all_steps(run: Run) -> Iterator[Row]:
    """Kill every step at its writes and run it again; see `tests/crash/runner.py`."""
    command = [sys.executable, "-m", "tests.crash.runner", str(tiny_world(run.folder)), str(run.folder), str(run.count(20))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    trials = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    kills_of = Counter(t["step"] for t in trials if t["killed"])
    for step, count in kills_of.items():
        wrong = [f"{t}" for t in trials if t["step"] == step and not (t["same"] and t["killed"])]
        yield {"step": step, "kills, each at another write": count, "same ids when run again": count - len(wrong), "wrong": wrong}
    if done.returncode:
        yield {"step": "all", "wrong": [done.stderr[-2000:]]}


def _training_kills(run: Run) -> Iterator[Row]:
    """Kill trainings at random moments; see `tests/torture/training_kills.py`."""
    command = [sys.executable, "-m", "tests.torture.training_kills", str(tiny_world(run.folder)), str(run.folder)]
    done = subprocess.run([*command, str(run.count(30)), str(run.seed)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        yield {"kills": 0, "wrong": [done.stderr[-2000:]]}
        return
    found = json.loads(done.stdout)
    yield found | {"files that differ from an undisturbed training's": len(found["wrong"])}


def _schedule(run: Run, backend: str) -> Iterator[Row]:
    """Kill what keeps a schedule going, in each step of a chain and of a replay; see `tests/torture/schedule.py`."""
    project = _project(run)
    world_file = tiny_world(project / "worlds", delivery="1h")
    victims = ["step", "supervisor", "scheduler", "dag-processor", "api-server", *(["postgres"] if backend == "PostgreSQL" else [])]
    command = [sys.executable, "-m", "tests.torture.schedule", backend, str(world_file), str(run.folder / "ground")]
    for trial in _within(project, [*command, *(run.victims or victims[: run.count(len(victims))])]):
        if "failed" in trial:
            yield {"database": backend, "wrong": [trial["failed"]]}
            return
        yield {
            "database": backend,
            "killed": trial["victim"],
            "while these ran": ", ".join(trial["strikes"]),
            "seconds until its step ran again": ", ".join(f"{seconds:g}" for seconds in trial["again"].values()),
            "load average then": f"{min(trial['load'], default=0):g} to {max(trial['load'], default=0):g}",
            "epochs kept, then began with": _went_on(trial),
            "all over after, s": trial["seconds"],
            "wrong": trial["wrong"],
        }


def _went_on(trial: Row) -> str:
    """What became of the training of a chain; nothing of a replay."""
    if "train" not in trial["strikes"]:
        return ""
    return f"{trial['kept']}, {trial['went_on']}" if trial["went_on"] is not None else f"{trial['kept']}, not stopped"


def _backfill(run: Run) -> Iterator[Row]:
    """Fourteen days of replays beside a live schedule; see `tests/torture/backfill.py`."""
    project, days = _project(run), run.count(14)
    world_file = backfill.live_world(project / "worlds", days=days)
    command = [sys.executable, "-m", "tests.torture.backfill", str(world_file), str(run.folder / "ground"), str(days)]
    for trial in _within(project, command):
        if "failed" in trial:
            yield {"days": days, "wrong": [trial["failed"]]}
            return
        yield {
            "days": days,
            "issue times asked": trial["asked"],
            "forecasts present, once": trial["present"],
            "events of replays": trial["events"],
            "live consumers woken": trial["woken"],
            "live forecasts due meanwhile": trial["due"],
            "there before the next was due": trial["on_time"],
            "later": trial["late"],
            "longest, s": trial["longest"],
            "files changed by asking again": trial["changed"],
            "all over after, s": trial["seconds"],
            "wrong": trial["wrong"],
        }


def _project(run: Run) -> Path:
    """A copy of the project without worlds."""
    project = run.folder / "project"
    for name in ("pipeline", "models", "dags", "plugins", "docker", "tests"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "worlds").mkdir()
    return project


def _within(project: Path, command: list[str]) -> Iterator[Row]:
    """What a command in the copy of the project tells, line by line as it comes; in the end why it failed, if it did."""
    with (project / "stderr").open("w+") as errors:
        environment = os.environ | {"PYTHONPATH": str(project)}
        with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            yield from (json.loads(line) for line in process.stdout or () if line.startswith("{"))
        if process.returncode:
            yield {"failed": (project / "stderr").read_text()[-2000:]}


PARTS: dict[str, tuple[str, Callable[[Run], Iterator[Row]]]] = {
    "kills-disk": ("kill -9 beside a reader, on a disk", lambda run: _kills(run, "disk")),
    "kills-s3": ("kill -9 beside a reader, on S3", lambda run: _kills(run, "S3")),
    "steps": ("kill -9 of every step, on a disk", _all_steps),
    "training-kills": ("kill -9 of a training at random moments, on a disk", _training_kills),
    "faults": ("Requests to S3 that fail", _faults),
    "damages-disk": ("Damage to every object, on a disk", _damages_disk),
    "damages-s3": ("Damage to every object, on S3", _damages_s3),
    "disks": ("No room", _full_disks),
    "writers": ("Writers at once", _writers),
    "schedule-sqlite": ("A schedule on one box, whose parts are killed", lambda run: _schedule(run, "SQLite")),
    "schedule-postgres": ("A schedule on PostgreSQL, whose parts are killed", lambda run: _schedule(run, "PostgreSQL")),
    "backfill": ("A backfill of replays beside a live schedule", _backfill),
    "hostile": ("Hostile and dirty files", _hostile),
}


def main() -> int:
    """Run the parts, keep what each found, and put the table together from all that was found."""
    asked = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    asked.add_argument("--parts", default=",".join(PARTS), help="which, by default all")
    asked.add_argument("--scale", type=float, default=1.0, help="1 is the whole; 0.02 a taste of each")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--victims", default="", help="of a schedule or of faults, only these; what was found of the others is kept")
    asked.add_argument("--found", type=Path, default=Path(tempfile.gettempdir()) / "cubecast-torture", help="where figures are kept")
    asked.add_argument("--table", type=Path, help="where the table goes; by default it is only printed")
    given = asked.parse_args()
    given.found.mkdir(parents=True, exist_ok=True)
    for name in filter(None, given.parts.split(",")):
        began = time.monotonic()
        victims = tuple(filter(None, given.victims.split(",")))
        rows = _rows_beside(given.found / f"{name}.json", victims)
        with tempfile.TemporaryDirectory() as folder:
            for row in PARTS[name][1](Run(seed=given.seed, scale=given.scale, folder=Path(folder), victims=victims)):
                rows.append(row)
                seconds = round(time.monotonic() - began)
                found = {"seed": given.seed, "scale": given.scale, "seconds": seconds, "rows": rows}
                (given.found / f"{name}.json").write_text(json.dumps(found, indent=1))
                print(f"{name}: {len(rows)} rows, {seconds} s, {sum(len(row['wrong']) for row in rows)} wrong", file=sys.stderr, flush=True)
    text, wrong = table(given.found, given.table.read_text() if given.table and given.table.exists() else "")
    print(text)
    if given.table:
        given.table.write_text(text)
    return int(bool(wrong))


def _rows_beside(file: Path, victims: tuple[str, ...]) -> list[Row]:
    """The rows that were found before of other victims."""
    if not victims or not file.exists():
        return []
    return [row for row in json.loads(file.read_text())["rows"] if row.get("killed", row.get("fault", victims[0])) not in victims]


def table(found: Path, before: str = "") -> tuple[str, list[str]]:
    """The table of all that was found, and what was wrong; parts of which nothing was found now stay as they are in the table before.

    What people have to say of a part stands in `notes.md` under its name, and is put below its rows.
    """
    lines, wrong, notes, known = [_HEAD], [], sections(_NOTES), sections(before)
    for name, (title, _) in PARTS.items():
        lines.append(f"\n## {title}\n")
        if (found / f"{name}.json").exists():
            part = json.loads((found / f"{name}.json").read_text())
            lines += [f"`--parts {name}`, seed {part['seed']}, {part['seconds']} s.\n", *_rows(part["rows"])]
            wrong += [line for row in part["rows"] for line in row["wrong"]]
            lines += ["", notes[name]] if name in notes else []
        else:
            lines.append(known.get(title, f"Not run (`--parts {name}`)."))
    lines += ["\n## Wrong", "", *(f"- {line}" for line in wrong or ["nothing"]), *(["", notes["wrong"]] if "wrong" in notes else [])]
    return "\n".join(lines) + "\n", wrong


def sections(text: str) -> dict[str, str]:
    """What stands below each heading of the second level."""
    parts = [part.partition("\n") for part in ("\n" + text).split("\n## ")[1:]]
    return {title.strip(): body.strip() for title, _, body in parts}


def _rows(rows: list[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row if name != "wrong"))
    cells = [[str(row.get(name, "")) for name in names] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *cells)]


_HEAD, _NOTES = ((ROOT / "tests" / "torture" / name).read_text().rstrip() for name in ("head.md", "notes.md"))

if __name__ == "__main__":
    sys.exit(main())
