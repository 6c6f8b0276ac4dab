"""What a CF checker finds wrong with a NetCDF file, asked in a process of its own.

The checker loads pyproj, whose PROJ and that of eccodes, with which other tests make GRIB, free each other's memory when their process ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def cf_faults(file: Path, folder: Path) -> list[str]:
    """Every fault but the recommended order of dimensions; `folder` takes what the checker says."""
    said = folder / "said.json"
    done = subprocess.run([sys.executable, __file__, str(file), str(said)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(said.read_text(encoding="utf-8"))["cf:1.11"]
    wrong = {
        rank: [part for part in found[rank] if part["value"][0] < part["value"][1]] for rank in ("high_priorities", "medium_priorities")
    }
    errors = [f"error: {part['name']} {part['msgs']}" for part in wrong["high_priorities"]]
    messages = [message for part in wrong["medium_priorities"] for message in part["msgs"]]
    return errors + [message for message in messages if "recommended order" not in message]


def _check(file: str, said: str) -> bool:
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    _, crashed = ComplianceChecker.run_checker(file, ["cf:1.11"], verbose=0, criteria="strict", output_filename=said, output_format="json")
    return not crashed


if __name__ == "__main__":
    sys.exit(0 if _check(sys.argv[1], sys.argv[2]) else "the checker crashed")
