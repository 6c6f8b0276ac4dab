"""What a container engine would be given, read and executed as far as a machine without one allows."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from pipeline.settings import Launch

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
INSTRUCTIONS = {"FROM", "ARG", "ENV", "RUN", "COPY", "USER", "WORKDIR", "HEALTHCHECK", "CMD"}


def instructions():
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def stages():
    """Name of each stage: its parent and its instructions."""
    found = {}
    for word, rest in instructions():
        if word == "FROM":
            parent, _, name = rest.partition(" AS ")
            found[name] = (parent, [])
            current = name
        elif found:
            found[current][1].append((word, rest))
    return found


def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_the_dockerfile_knows_instructions_only_and_builds_on_stages_that_are_there():
    assert {word for word, _ in instructions()} <= INSTRUCTIONS
    for parent, lines in stages().values():
        assert parent in stages() or parent.startswith("python:")
        for word, rest in lines:
            if word == "COPY" and "--from=" in rest:
                assert re.search(r"--from=(\S+)", rest)[1] in stages()


@pytest.mark.parametrize("name", ["airflow", "worker", "trainer"])
def test_an_image_runs_as_no_root_with_a_health_check_and_a_pinned_parent(name):
    chain = [name]
    while chain[-1] in stages():
        chain.append(stages()[chain[-1]][0])
    lines = [line for stage in chain[:-1] for line in stages()[stage][1]]
    assert ("USER", "10001:10001") in lines
    assert any(word == "HEALTHCHECK" for word, _ in lines)
    default = next(rest for word, rest in instructions() if word == "ARG")
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", default)


def test_what_the_images_copy_is_there_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for _, lines in stages().values():
        for word, rest in lines:
            if word == "COPY" and "--from" not in rest:
                for path in shlex.split(rest)[:-1]:
                    assert (ROOT / path).exists(), path
                    assert f"!{path.split('/')[0]}" in ignored, path


def test_the_torch_of_the_image_is_that_of_the_project():
    assert re.search(r'model = \["(torch==[\d.]+)"\]', (ROOT / "pyproject.toml").read_text())[1] in (DOCKER / "Dockerfile").read_text()


def test_compose_binds_loopback_only_pins_images_and_keeps_secrets_out():
    text = (DOCKER / "compose.yaml").read_text()
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert re.search(r":[\w.-]*\d[\w.-]*$", service["image"]), name
        assert service.get("restart"), name
        for other in service.get("depends_on", []):
            assert other in compose()["services"], (name, other)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if not volume.startswith("${") else None
            assert source is None or source in compose()["volumes"] or (DOCKER / source).exists(), (name, volume)
    for key in ("PASSWORD", "SECRET"):
        for line in text.splitlines():
            if re.search(rf"{key}\w*: ", line):
                assert "${" in line or "FILE" in line, line
    wanted = set(re.findall(r"\$\{(\w+):\?", text))
    assert wanted <= set(re.findall(r"^(\w+)=", (DOCKER / ".env.example").read_text(), re.MULTILINE))


def test_the_secrets_of_airflow_go_to_airflow_alone():
    airflow = {"prepare", "api-server", "dag-processor", "triggerer", "scheduler"}
    for name, service in compose()["services"].items():
        words = set(re.findall(r"\$\{(\w+)", str(service.get("environment", {}))))
        told = {word for word in words if word.startswith(("AIRFLOW_", "POSTGRES_"))}
        assert bool(told) == (name in airflow or name == "postgres"), (name, told)
        assert any("airflow:" in volume for volume in service.get("volumes", ())) == (name in airflow), name


def test_every_command_of_compose_is_one_that_the_project_has():
    for name, service in compose()["services"].items():
        words = service.get("command", [])
        if words[:3] == ["python", "-m", "pipeline"]:
            names = [w for w in words[3:] if not w.startswith("-") and not w[0].isdigit()]
            done = subprocess.run(
                [sys.executable, "-m", "pipeline", *names, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, (name, done.stderr)
            assert all(w in done.stdout for w in words if w.startswith("--")), name


def test_the_chart_makes_no_user_with_a_known_password_and_its_way_of_signing_in_is_an_extra_of_the_images():
    values = yaml.safe_load((DOCKER / "kubernetes/airflow-values.yaml").read_text())
    assert values["createUserJob"] == {"enabled": False}
    provider = values["config"]["core"]["auth_manager"].split(".")[2]
    assert re.search(rf'(?m)^{provider} = \["apache-airflow-providers-{provider}==', (ROOT / "pyproject.toml").read_text())
    assert "${EXTRAS}" in (DOCKER / "Dockerfile").read_text()


@pytest.mark.parametrize("path", sorted(p.relative_to(DOCKER).as_posix() for p in DOCKER.rglob("*.y*ml")))
def test_every_yaml_file_can_be_read(path):
    assert all(document for document in yaml.safe_load_all((DOCKER / path).read_text()))


def test_the_gpu_goes_to_the_service_that_trains():
    [(name, service)] = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"].items()
    assert "trainer" in compose()["services"][name]["image"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_alerts_name_runbooks_that_are_there():
    rules = yaml.safe_load((DOCKER / "grafana/alerts.yml").read_text())["groups"][0]["rules"]
    assert all((ROOT / rule["annotations"]["runbook"]).is_file() for rule in rules)


def test_every_service_has_a_health_check_that_asks_the_service_itself():
    services = compose()["services"]
    asked = {name: service.get("healthcheck", {}) for name, service in services.items()}
    assert asked.pop("prepare") == {"disable": True}, "it ends"
    ports = {"api-server": "8080", "dask-scheduler": "8787", "dask-worker": "8790", "forecasts": "8000", "metrics": "9464"}
    for name, place in (ports | {"prometheus": "9090/-/healthy", "grafana": "3000/api/health"}).items():
        assert f"http://127.0.0.1:{place}" in asked[name]["test"][-1], name
    for name, job in (("scheduler", "SchedulerJob"), ("triggerer", "TriggererJob"), ("dag-processor", "DagProcessorJob")):
        assert job in asked[name]["test"]
    assert all(check["test"][0] == "CMD" and check["interval"] and check["timeout"] and check["retries"] for check in asked.values())
    words = services["watch"]["command"]
    assert words[words.index("--seen") + 1] in asked["watch"]["test"][-1]


def test_a_dask_worker_answers_at_the_address_that_its_health_check_asks():
    import dask.config
    from distributed.http import health

    assert health.__name__ in dask.config.get("distributed.worker.http.routes")
    assert [path for path, *_ in health.routes] == ["/health"]
    command = compose()["services"]["dask-worker"]["command"]
    assert command[command.index("--dashboard-address") + 1] == ":8790"


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_keeps_to_the_schema_of_the_compose_specification(name):
    schema = json.loads((Path(__file__).parent / "compose_spec.json").read_text())
    check = jsonschema.Draft7Validator(schema)
    assert [(list(error.absolute_path), error.message) for error in check.iter_errors(yaml.safe_load((DOCKER / name).read_text()))] == []
    assert list(check.iter_errors({"services": {"odd": {"comand": ["x"]}}})), "what is no key is found"


def test_the_dockerfile_does_what_hadolint_asks():
    """Named by hadolint's rules; where hadolint itself is at hand, all of them but those that its configuration leaves out, with reasons."""
    for name, (parent, lines) in stages().items():
        runs = [rest for word, rest in lines if word == "RUN"]
        for run in runs:
            assert not re.search(r"\bsudo\b|(^|&& *)cd ", run), f"DL3003, DL3004: {name}"
            if "apt-get install" in run:
                for wanted in ("--no-install-recommends", "--yes", "apt-get update &&", "rm -rf /var/lib/apt/lists/*"):
                    assert wanted in run, f"DL3009, DL3014, DL3015: {name}"
            if re.search(r"-m pip install|uv pip install", run):
                assert "--no-cache" in run, f"DL3042: {name}"
                assert "--constraint requirements.lock" in run, f"DL3013: {name}"
        assert not parent.endswith(":latest"), "DL3006, DL3007"
        for word, rest in lines:
            assert word not in ("ADD", "MAINTAINER"), "DL3020, DL4000"
            if word == "CMD":
                assert json.loads(rest), "DL3025"
            if word == "COPY" and not shlex.split(rest)[-1].startswith("/"):
                assert any(earlier == "WORKDIR" for stage in [name, parent] if stage in stages() for earlier, _ in stages()[stage][1]), (
                    "DL3045"
                )
    if hadolint := shutil.which("hadolint"):
        words = [hadolint, "--config", str(DOCKER / "hadolint.yaml"), str(DOCKER / "Dockerfile")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout


def test_the_units_of_systemd_are_right_and_read_the_example_of_their_environment(tmp_path):
    from pipeline.settings import read_launch, read_settings

    text = (DOCKER / "systemd/environment.example").read_text()
    said = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert read_settings(said).store.startswith("/var/lib/cubecast/"), "where the units may write"
    assert read_launch(said).memory == 8 * 2**30
    units = sorted((DOCKER / "systemd").glob("cubecast-*.*"))
    assert all("EnvironmentFile=/etc/cubecast/environment" in unit.read_text() for unit in units if unit.suffix == ".service")
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("no systemd-analyze")
    for unit in units:  # the program of a unit has to be there
        (tmp_path / unit.name).write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text()))
    words = [analyse, "verify", "--man=no", "--recursive-errors=no", *(str(tmp_path / unit.name) for unit in units)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "cubecast" in line]
    assert (done.returncode, ours) == (0, [])


def test_pods_with_a_gpu_are_chosen_by_one_label_everywhere_and_all_others_keep_away():
    values = yaml.safe_load((DOCKER / "kubernetes/airflow-values.yaml").read_text())
    told = {entry["name"]: entry["value"] for entry in values["env"]}
    assert told["CUBECAST_LAUNCH_GPU_SELECTOR"] == Launch().gpu_selector == "cubecast/accelerator=gpu"
    apart = {"key": "cubecast/accelerator", "operator": "NotIn", "values": ["gpu"]}
    kinds = {d["kind"]: d for d in yaml.safe_load_all((DOCKER / "kubernetes/dask-cluster.yaml").read_text())}
    cluster, gpu = kinds["DaskCluster"], kinds["DaskWorkerGroup"]
    others = [values, cluster["spec"]["worker"]["spec"], cluster["spec"]["scheduler"]["spec"]]
    for spec in others:
        [term] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [apart]
    spec = gpu["spec"]["worker"]["spec"]
    assert (gpu["spec"]["cluster"], spec["nodeSelector"]) == (cluster["metadata"]["name"], {"cubecast/accelerator": "gpu"})
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "trainer" in spec["containers"][0]["image"]


def test_airflows_own_pods_reach_the_store_and_all_that_the_runbook_makes_lies_in_one_namespace():
    values = yaml.safe_load((ROOT / "docker/kubernetes/airflow-values.yaml").read_text())
    assert yaml.safe_load(values["extraEnvFrom"]) == [{"secretRef": {"name": "cubecast-s3"}}]
    runbook = (ROOT / "docs/runbooks/from-one-box-to-a-cluster.md").read_text()
    made = [line for line in runbook.splitlines() if re.search(r"kubectl (create secret|apply)|helm install", line)]
    assert len(made) == 4
    assert all("--namespace cubecast" in line for line in made)
