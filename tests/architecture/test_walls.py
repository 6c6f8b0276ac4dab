"""The walls hold, and the contracts that guard them can fail."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = [p for folder in ("pipeline", "models", "dags", "plugins", "benchmarks") for p in sorted((ROOT / folder).rglob("*.py"))]

PLANTS = {
    "dags/planted.py": ("from pipeline.steps import land\n", "DAG files know the door only"),
    "pipeline/api.py": ("import numpy\n", "The door is light"),
    "pipeline/stores/planted.py": ("from pipeline.steps import land\n", "Steps stand above everything but the command line"),
    "pipeline/cube/planted.py": ("from pipeline.stores import objects\n", "Cores know arrays and contracts only"),
    "models/layers/planted.py": ("from pipeline.windows import reader\n", "Models know contracts only"),
    "pipeline/steps/planted.py": ("from models import joint\nimport torch\n", "Models are entered by their door"),
    "pipeline/publishing/planted.py": ("import torch\nimport zarr\n", "Torch in models only"),
    "pipeline/sources/planted.py": ("import icechunk\nimport dask\nimport airflow\n", "Zarr and Icechunk in stores only"),
    "pipeline/quality/planted.py": ("from pipeline.alignment import planted\n", "No circles"),
    "pipeline/alignment/planted.py": ("from pipeline.quality import planted\nimport distributed\n", "Dask in parallel only"),
}


def _lint_imports(folder: Path) -> str:
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def _names_in(config: str) -> list[str]:
    import tomllib

    return [c["name"] for c in tomllib.loads(config)["tool"]["importlinter"]["contracts"]]


def _copy(target: Path) -> Path:
    for name in ("pipeline", "models", "dags", "plugins"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


def test_every_import_contract_is_kept():
    report = _lint_imports(ROOT)
    for name in _names_in((ROOT / "pyproject.toml").read_text()):
        assert f"{name} KEPT" in " ".join(report.split()), report


def test_every_import_contract_breaks_on_a_planted_violation(tmp_path):
    folder = _copy(tmp_path)
    for file, (text, _) in PLANTS.items():
        path = folder / file
        path.write_text((path.read_text() if path.exists() else "") + "\n" + text)
    report = " ".join(_lint_imports(folder).split())
    for name in _names_in((ROOT / "pyproject.toml").read_text()):
        assert f"{name} BROKEN" in report, name


def _calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _pipeline_files(*, without: tuple[str, ...]) -> list[Path]:
    files = sorted((ROOT / "pipeline").rglob("*.py")) + sorted((ROOT / "models").rglob("*.py"))
    return [p for p in files if p.relative_to(ROOT).as_posix() not in without]


CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "pd.Timestamp.now", "datetime.datetime.now"}


def test_only_the_clock_asks_what_time_it_is():
    for path in _pipeline_files(without=("pipeline/clock.py",)):
        assert not _calls(ast.parse(path.read_text())) & CLOCKS, path


def test_only_settings_reads_the_environment():
    allowed = ("pipeline/settings.py", "pipeline/__main__.py", "pipeline/local_airflow.py")
    for path in _pipeline_files(without=allowed):
        text = ast.unparse(ast.parse(path.read_text()))
        assert "os.environ" not in text, path
        assert "os.getenv" not in text, path


def test_the_door_and_the_contracts_package_stay_light():
    code = "import pipeline.api, sys; print([m for m in ('numpy','pandas','pyarrow','torch','dask','zarr','airflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert (ROOT / "pipeline" / "__init__.py").read_text() == ""
    assert (ROOT / "pipeline" / "contracts" / "__init__.py").read_text() == ""


def test_files_and_functions_stay_short():
    long_files = {p: n for p in CODE if (n := len(p.read_text().splitlines())) > 300}
    assert len(long_files) <= len(CODE) // 20, long_files
    assert all(n <= 400 for n in long_files.values()), long_files
    functions = [(p, node) for p in CODE for node in ast.walk(ast.parse(p.read_text())) if isinstance(node, ast.FunctionDef)]
    long_functions = {f"{p.name}:{node.name}": n for p, node in functions if (n := (node.end_lineno or 0) - node.lineno + 1) > 60}
    assert len(long_functions) <= len(functions) // 50, long_functions
    assert all(n <= 90 for n in long_functions.values()), long_functions


@pytest.mark.parametrize("drawer", ["utils", "common", "helpers", "manager", "misc"])
def test_there_is_no_drawer_without_a_noun(drawer):
    assert not [p for p in CODE if drawer in p.stem]


def test_nothing_is_pickled():
    for path in CODE:
        text = path.read_text()
        for word in ("import pickle", "torch.save(", "torch.load(", "allow_pickle=True", "joblib.dump", "cloudpickle"):
            assert word not in text, (path, word)


def test_the_lock_pins_everything_and_names_no_index():
    lines = [ln for ln in (ROOT / "requirements.lock").read_text().splitlines() if ln and not ln.startswith("#")]
    assert all("==" in ln for ln in lines)
    assert not [ln for ln in lines if "://" in ln or ln.startswith("-")]
