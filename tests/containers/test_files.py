"""What a container engine would be given, read and executed as far as a machine without one allows."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def install_lines(*names):
    """What the stages run with a package installer, as words, the virtual environment's folder left open."""
    lines = [rest for name in names for word, rest in stages()[name][1] if word == "RUN" and "install" in rest and ".venv" in rest]
    return [shlex.split(line.replace("${EXTRAS}", "")) for line in lines]


@pytest.mark.timeout(300)
def test_the_thin_image_installs_parses_the_dags_and_knows_neither_torch_nor_dask(tmp_path):
    folder = tmp_path / "image"
    folder.mkdir()
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "pipeline").mkdir()
    (folder / "pipeline" / "__init__.py").touch()
    subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=folder, check=True, timeout=60)
    for words in install_lines("build"):
        done = subprocess.run([w for w in words if w != "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
    python = folder / ".venv/bin/python"
    parse = (
        "import importlib, json, pathlib, sys\n"
        "names = [p.stem for p in pathlib.Path('dags').glob('[a-z]*.py')]\n"
        "[importlib.import_module(f'dags.{n}') for n in names]\n"
        "import importlib.util as u\n"
        "print(json.dumps([sorted(names), [n for n in ('torch', 'dask', 'zarr', 'icechunk') if u.find_spec(n)]]))"
    )
    environment = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(tmp_path / "home"), "CUBECAST_WORLDS": "synthetic", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-c", parse], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    names, heavy = json.loads(done.stdout.splitlines()[-1])
    assert "training" in names
    assert heavy == []


def test_airflows_own_pods_reach_the_store_and_all_that_the_runbook_makes_lies_in_one_namespace():
    values = yaml.safe_load((ROOT / "docker/kubernetes/airflow-values.yaml").read_text())
    assert yaml.safe_load(values["extraEnvFrom"]) == [{"secretRef": {"name": "cubecast-s3"}}]
    runbook = (ROOT / "docs/runbooks/from-one-box-to-a-cluster.md").read_text()
    made = [line for line in runbook.splitlines() if re.search(r"kubectl (create secret|apply)|helm install", line)]
    assert len(made) == 4
    assert all("--namespace cubecast" in line for line in made)
