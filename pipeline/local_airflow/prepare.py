"""Bring what a shared Airflow stands on up to date: its database, its pools, its first password, the bucket."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.local_airflow.home import USER, password
from pipeline.settings import Settings

POOLS = {
    "gpu": (1, "one training at a time"),
    "cube": (1, "one commit to the cube at a time"),
    "replay": (2, "replays of the past; what is live keeps the other slots of the executor"),
}
"""Slots of each, and what they are for."""


def prepare(settings: Settings) -> dict[str, str]:
    """Do what is needed once before the components start; again, it changes nothing.

    The database is the one that Airflow's own settings (AIRFLOW__DATABASE__SQL_ALCHEMY_CONN) name.

    Returns:
        Where things are: the store, the file with the generated password and whose it is.

    Raises:
        StoreError: The database or the bucket refuses.
    """
    _airflow("db", "migrate")
    there = {pool["pool"] for pool in json.loads(_airflow("pools", "list", "--output", "json").splitlines()[-1])}
    for name, (slots, description) in POOLS.items():
        if name not in there:
            _airflow("pools", "set", name, str(slots), description)
    if "://" in settings.store:
        _make_bucket(settings.store)
    settings.airflow_home.mkdir(parents=True, exist_ok=True)
    password(settings.airflow_home)
    return {"store": settings.store, "user": USER, "passwords": str(Path(settings.airflow_home) / "passwords.json")}


def _airflow(*words: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "airflow", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StoreError(
            asked=f"airflow {' '.join(words[:3])}",
            found=(done.stderr or done.stdout).strip()[-800:],
            mend="check AIRFLOW__DATABASE__SQL_ALCHEMY_CONN and that the database runs, then repeat",
        )
    return done.stdout


def _make_bucket(store: str) -> None:
    import fsspec

    files, path = fsspec.core.url_to_fs(store)
    bucket = path.split("/")[0]
    try:
        if not files.exists(bucket):
            files.mkdir(bucket)
    except OSError as error:
        raise StoreError(
            asked=f"bucket {bucket}", found=str(error), mend="create it by hand, or give credentials that may create buckets"
        ) from error
