"""The only reader of the environment."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.contracts.times import parse_duration
from pipeline.errors import ConfigError

VERSION = "0.1.0"
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where things are and go.

    Attributes:
        store: Root of everything Cubecast keeps: a local folder or an `s3://bucket/prefix` URL.
        data: Folder that `data://` locations of world files name, or None where there is none.
        dask: Address of a Dask scheduler (`tcp://host:8786`), `processes:N` for a local cluster, or None for threads.
        memory: Bytes that one process may use for its work, or None for a share of what there is.
        processes: How many train together, as `torchrun` says (WORLD_SIZE).
        cubes: Root of the cubes where they are not in `store`: those that a lane of replay reads; None: in `store`.
        airflow_home: Folder of the Airflow that `cubecast airflow` starts or prepares: `<store>/airflow`, or `./.airflow` beside a store
            on S3, unless CUBECAST_AIRFLOW_HOME names another.
        airflow_url: Where another Airflow answers that runs this store's worlds, for `cubecast status` to ask; None: the store's own.
        airflow_login: `user:password` for it, or a token; never shown.
        worlds: The worlds that Airflow schedules; empty for all there are.
        otlp: Address of an OpenTelemetry collector (OTLP over HTTP) that hears of each step, or None.
        tensorboard: Folder for the curves of trainings, or None.
        tokens: What `cubecast serve` accepts; never shown.
        lineage: Where the Airflow that `cubecast airflow` starts sends OpenLineage events, as the JSON of a transport; never shown.
        attempt: Which attempt of a scheduler's run this process is, `<run>:<number>`; None outside of one.
        alert_log: File to which alerts are appended, one JSON object a line, or None.
        alert_url: Where alerts are posted, or None; may hold a secret, and is never shown.
        alert_hosts: The only hosts that may be; empty: the address alone decides.
        alert_header: A header of those requests, `Name: value`; never shown.
    """

    store: str
    data: Path | None
    dask: str | None
    memory: int | None = None
    processes: int = 1
    cubes: str | None = None
    airflow_home: Path = Path(".airflow")
    airflow_url: str | None = None
    airflow_login: str | None = field(default=None, repr=False)
    worlds: tuple[str, ...] = ()
    otlp: str | None = None
    tensorboard: Path | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    lineage: str | None = field(default=None, repr=False)
    attempt: str | None = None
    alert_log: Path | None = None
    alert_url: str | None = field(default=None, repr=False)
    alert_hosts: tuple[str, ...] = ()
    alert_header: str | None = field(default=None, repr=False)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings that the environment gives: CUBECAST_STORE, CUBECAST_DATA, CUBECAST_DASK, CUBECAST_MEMORY, CUBECAST_WORLDS,
    CUBECAST_AIRFLOW_(HOME, URL, LOGIN), OTEL_EXPORTER_OTLP_ENDPOINT, CUBECAST_TENSORBOARD, CUBECAST_TOKENS, CUBECAST_ATTEMPT,
    CUBECAST_ALERT_(LOG, URL, HOSTS, HEADER), AIRFLOW__OPENLINEAGE__TRANSPORT, and torchrun's WORLD_SIZE.

    Raises:
        ConfigError: CUBECAST_MEMORY is no size.
    """
    env = os.environ if environment is None else environment
    shared = _PROJECT.parent / "shared" / "data"
    data = Path(env["CUBECAST_DATA"]) if env.get("CUBECAST_DATA") else shared if shared.is_dir() else None
    store = env.get("CUBECAST_STORE") or "./store"
    local = "://" not in store
    return Settings(
        store=str(Path(store).resolve()) if local else store,
        data=data,
        dask=env.get("CUBECAST_DASK") or None,
        memory=_bytes("CUBECAST_MEMORY", env["CUBECAST_MEMORY"]) if env.get("CUBECAST_MEMORY") else None,
        processes=int(env.get("WORLD_SIZE") or 1) if env.get("TORCHELASTIC_RUN_ID") else 1,
        airflow_home=Path(env.get("CUBECAST_AIRFLOW_HOME") or (f"{store}/airflow" if local else ".airflow")).resolve(),
        airflow_url=env.get("CUBECAST_AIRFLOW_URL") or None,
        airflow_login=env.get("CUBECAST_AIRFLOW_LOGIN", "").strip() or None,
        worlds=_names(env.get("CUBECAST_WORLDS", "")),
        otlp=env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        tensorboard=Path(env["CUBECAST_TENSORBOARD"]).resolve() if env.get("CUBECAST_TENSORBOARD") else None,
        tokens=_names(env.get("CUBECAST_TOKENS", "")),
        lineage=env.get("AIRFLOW__OPENLINEAGE__TRANSPORT") or None,
        attempt=env.get("CUBECAST_ATTEMPT") or None,
        alert_log=Path(env["CUBECAST_ALERT_LOG"]).resolve() if env.get("CUBECAST_ALERT_LOG") else None,
        alert_url=env.get("CUBECAST_ALERT_URL") or None,
        alert_hosts=_names(env.get("CUBECAST_ALERT_HOSTS", "")),
        alert_header=env.get("CUBECAST_ALERT_HEADER") or None,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.replace(" ", "").split(",") if name)


_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?i?)B?")
_POWERS = {"": 1, **{f"{k}i": 1024**n for n, k in enumerate("KMGT", 1)}, **{k: 1000**n for n, k in enumerate("KMGT", 1)}}


def _bytes(name: str, text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _POWERS[found[2]]) if found and found[2] in _POWERS else 0
    if not size:
        raise ConfigError(asked=f"{name} = '{text}'", found="no size", mend="write for example 1GiB or 800MB")
    return size


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Where Airflow's tasks run a step, and what it may take there.

    Attributes:
        kind: `child` process of the task, or `kubernetes` pod.
        worker_image, trainer_image: What pods run; the trainer's has torch.
        namespace: Where pods are made.
        secret: Name of the secret whose entries become a pod's environment: the store's credentials.
        gpu_selector: Label of the nodes on which trainings run, `name=value`; empty: any node with a GPU.
        memory: Bytes that a step and what it starts may hold; None: three quarters of the machine, of a pod what its kind of step asks for.
        limit: The longest that one attempt of a step may take.
    """

    kind: str = "child"
    worker_image: str = f"cubecast/worker:{VERSION}"
    trainer_image: str = f"cubecast/trainer:{VERSION}"
    namespace: str = "cubecast"
    secret: str = "cubecast-s3"  # noqa: S105
    gpu_selector: str = "cubecast/accelerator=gpu"
    memory: int | None = None
    limit: timedelta = timedelta(hours=6)


def read_launch(environment: Mapping[str, str] | None = None) -> Launch:
    """What CUBECAST_LAUNCH and CUBECAST_LAUNCH_(WORKER_IMAGE, TRAINER_IMAGE, NAMESPACE, SECRET, GPU_SELECTOR, MEMORY, LIMIT) say.

    Raises:
        ConfigError: CUBECAST_LAUNCH names no way of launching, or a limit is none.
    """
    env = os.environ if environment is None else environment
    kind = env.get("CUBECAST_LAUNCH") or "child"
    if kind not in ("child", "kubernetes"):
        raise ConfigError(asked=f"CUBECAST_LAUNCH={kind}", found="no way of launching a step", mend="set it to child or kubernetes")
    words = ("worker_image", "trainer_image", "namespace", "secret")
    given: dict[str, Any] = {name: env[key] for name in words if env.get(key := f"CUBECAST_LAUNCH_{name.upper()}")}
    if "CUBECAST_LAUNCH_GPU_SELECTOR" in env:
        given["gpu_selector"] = env["CUBECAST_LAUNCH_GPU_SELECTOR"]
    if size := env.get("CUBECAST_LAUNCH_MEMORY"):
        given["memory"] = _bytes("CUBECAST_LAUNCH_MEMORY", size)
    if span := env.get("CUBECAST_LAUNCH_LIMIT"):
        given["limit"] = _duration("CUBECAST_LAUNCH_LIMIT", span)
    return Launch(**given, kind=kind)


def _duration(name: str, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(asked=f"{name} = '{text}'", found="no duration", mend="write for example 30min or 6h") from error


_HANDED_DOWN = (
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "TERM",
    "SSL_CERT_FILE",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NO_PROXY",
    "no_proxy",
)
_KEPT_BACK = ("CUBECAST_TOKENS", "CUBECAST_AIRFLOW_LOGIN")
_ALERT_SECRETS = ("CUBECAST_ALERT_URL", "CUBECAST_ALERT_HEADER")
_HANDED_DOWN_FAMILIES = ("CUBECAST_", "AWS_", "FSSPEC_", "LC_", "LANG", "OMP_", "MKL_", "OPENBLAS_", "HTTP_PROXY", "HTTPS_PROXY", "OTEL_")


def child_environment(
    more: Mapping[str, str] | None = None, *, environment: Mapping[str, str] | None = None, tells: bool = False
) -> dict[str, str]:
    """What a child process gets of our environment: what steps need to run and to reach the store, and nothing else.

    One that tells people of alerts also gets where they are posted.
    """
    env = os.environ if environment is None else environment
    kept = {name: value for name, value in env.items() if name in _HANDED_DOWN or name.startswith(_HANDED_DOWN_FAMILIES)}
    back = _KEPT_BACK if tells else (*_KEPT_BACK, *_ALERT_SECRETS)
    kept = {name: value for name, value in kept.items() if name not in back}
    return {**kept, "PYTHONPATH": str(_PROJECT), "PYTHONUNBUFFERED": "1", "TZ": "UTC", **(more or {})}


def share_processors() -> None:
    """Let numerical threads sleep while they wait, unless the environment says otherwise.

    Must come before torch is imported. Threads that spin cost nothing on an idle machine, and a factor of twenty on a busy one.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def one_thread() -> None:
    """Let this process calculate on one thread. Must come before numerical libraries are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def project_folder() -> Path:
    """The folder of the checkout, with `dags/` and `worlds/`."""
    return _PROJECT


@cache
def code_version() -> str:
    """Version and a digest of the source files that make results, as they are when first asked: `0.1.0+3f2a9c81d0b4`."""
    state = hashlib.sha256()
    for folder in ("pipeline", "models"):
        for path in sorted((_PROJECT / folder).rglob("*.py")):
            state.update(path.relative_to(_PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{VERSION}+{state.hexdigest()[:12]}"
