"""How well does the joint model forecast the road traffic of Aarhus, beside what others forecast from the same windows, and how soon?

`vehicle_count` and `average_speed`, 12 steps of 5 minutes, the last 20 % as test (`aarhus_traffic`): ours, recipe `small` through our own
engine, beside persistence, historical average, ridge, LightGBM on lags, STID (ours, from its paper) and neuralforecast's NLinear, PatchTST,
iTransformer, TimeXer and NHITS. All settings were chosen on the validation part, none on test. A unit (model, target, seed) that is done is a line
in `--keep`/units.jsonl, or in `benchmarks/results/aarhus_rivals.jsonl`, and is not made again: the same command goes on.
`python -m benchmarks.aarhus_rivals --keep DIR --peers PYTHON-WITH-NEURALFORECAST`: hours; `--only ours --seeds 1`: 10 minutes; `--table`: seconds
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.aarhus_table import Key, missing, table
from benchmarks.aarhus_traffic import TARGETS, traffic_alone, windows
from benchmarks.aarhus_units import Place, Record, baselines, neural, ours, stid, trees

RESULTS = Path(__file__).with_name("results") / "aarhus_rivals.jsonl"
OURS: dict[str, dict[str, Any]] = {"ours": {}, "ours, 4 epochs": {"epochs": 4}, "ours, 2 epochs": {"epochs": 2}}
"""Our recipe, and shorter trainings that show how soon it is how good."""

PLAIN = {"persistence": "persistence", "historical_average": "historical average", "ridge": "ridge"}
STID: dict[str, Any] = {}
TREES: dict[str, Any] = {}
COMMON: dict[str, Any] = {"batch_size": 8, "val_check_steps": 100, "early_stop_patience_steps": 5}
NEURAL: dict[str, dict[str, Any]] = {
    "TimeXer": {"input_size": 96, "patch_len": 12, "hidden_size": 128, "d_ff": 256, "learning_rate": 1e-3, "max_steps": 2000},
    "iTransformer": {"input_size": 96, "hidden_size": 128, "d_ff": 256, "learning_rate": 1e-3, "max_steps": 2000},
    "PatchTST": {"input_size": 96, "hidden_size": 64, "linear_hidden_size": 128, "learning_rate": 1e-3, "max_steps": 3000},
    "NHITS": {"input_size": 288, "learning_rate": 1e-3, "max_steps": 3000, "inference_windows_batch_size": 1024},
    "NLinear": {"input_size": 288, "learning_rate": 1e-3, "max_steps": 3000},
}
app = typer.Typer(add_completion=False)


def read(*files: Path) -> dict[Key, Record]:
    """What is done, by model, target and seed; a later line stands for an earlier one."""
    found = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            record = json.loads(line)
            found[record["model"], record["target"], record["seed"]] = record
    return found


def units(place: Place, seed: int) -> Iterator[tuple[str, list[Key], Callable[[], Iterator[tuple[Key, Record]]]]]:
    """What is to be made of a seed, the cheap and the dangerous first: a name, its keys, and how."""
    for name, options in OURS.items():

        def made(name: str = name, options: dict[str, Any] = options) -> Iterator[tuple[Key, Record]]:
            return (((name, target, seed), record) for target, record in ours(place, seed, options).items())

        yield name, [(name, target, seed) for target in TARGETS], made
    if seed == 0:
        keys = [(name, target, 0) for name in PLAIN.values() for target in TARGETS]
        yield "plain", keys, lambda: (((name, target, 0), record) for name, target, record in baselines(place, PLAIN))
    alone: dict[str, Callable[[str], Record]] = {
        "STID": lambda target: stid(place, target, seed, STID),
        "LightGBM": lambda target: trees(place, target, seed, TREES),
    }
    alone |= {name: _neural(place, name, seed) for name in NEURAL}
    for name, make in alone.items():
        for target in TARGETS:
            key = (name, target, seed)
            yield name, [key], lambda key=key, make=make: iter([(key, make(key[1]))])  # type: ignore[misc]


def wanted(name: str, only: str, peers: str) -> bool:
    """Whether a unit of this name is asked for, and can be made."""
    return (not only or name in only.split(";")) and (name not in NEURAL or bool(peers))


def _neural(place: Place, name: str, seed: int) -> Callable[[str], Record]:
    return lambda target: neural(place, name, target, seed, COMMON | NEURAL[name])


@app.command()
def main(
    keep: Annotated[Path, typer.Option(help="A folder for the cube and for units that are done.")] = Path("aarhus_rivals"),
    only: Annotated[str, typer.Option(help="Names of models, with semicolons between; of the plain ones: plain.")] = "",
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    peers: Annotated[str, typer.Option(help="An interpreter with neuralforecast; without one its models are left out.")] = "",
    threads: Annotated[int, typer.Option(help="Of peers; ours takes what its recipe says.")] = 2,
    show: Annotated[bool, typer.Option("--table", help="Print the table of what is done, and end.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Write what is done into benchmarks/results, and end.")] = False,
) -> None:
    file = keep / "units.jsonl"
    done = read(RESULTS, file)
    names = [*PLAIN.values(), "LightGBM", *NEURAL, "STID", *OURS]
    if copy:
        lines = [json.dumps(done[key]) for key in sorted(done, key=lambda key: (names.index(key[0]), key[1:]))]
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not (show or copy):
        keep.mkdir(parents=True, exist_ok=True)
        place = Place(keep=keep, given=traffic_alone(windows(keep)), threads=threads, python=peers)
        for seed in range(seeds):
            for name, keys, make in units(place, seed):
                if all(key in done for key in keys) or not wanted(name, only, peers):
                    continue
                for (model, target, _), record in make():
                    done[model, target, seed] = {"model": model, "target": target, "seed": seed} | record
                    with file.open("a", encoding="utf-8") as out:
                        out.write(json.dumps(done[model, target, seed]) + "\n")
                    print(model, target, seed, f"{record['test']['mean']:.4f}", f"{record['processor']:.0f} s", flush=True)
    print(table(done, names))
    print(missing(done, names, PLAIN.values()))


if __name__ == "__main__":
    app()
