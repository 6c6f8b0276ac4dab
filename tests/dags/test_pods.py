"""Steps as Kubernetes pods: the rendered specification, and exit codes as decisions."""

import json
import warnings
from datetime import timedelta
from types import SimpleNamespace

import pytest

from pipeline.api import BuildCubeRequest, Launch, PublishRequest, TrainRequest, load_world, read_launch
from pipeline.errors import ConfigError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
    from kubernetes.client import ApiClient
    from kubernetes.client import models as k8s

    from dags import _pod, _steps

AS_OF = "2025-11-01T12:00:00Z"
WORLD = load_world("synthetic")


NOWHERE = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "nowhere", "cluster": {"server": "https://127.0.0.1:9"}}],
    "users": [{"name": "nobody", "user": {}}],
    "contexts": [{"name": "here", "context": {"cluster": "nowhere", "user": "nobody"}}],
    "current-context": "here",
}


@pytest.fixture(autouse=True)
def secrets_around(monkeypatch, tmp_path):
    (tmp_path / "kubeconfig").write_text(json.dumps(NOWHERE))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-71")
    monkeypatch.setenv("CUBECAST_STORE", "s3://bucket/prefix")


def rendered(request, attempt="", **launch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pod = _pod.pod_of(request, Launch(kind="kubernetes", **launch), attempt)
        return ApiClient().sanitize_for_serialization(pod.build_pod_request_obj(None))


def check(content, kind):
    """Every key is one of the API's model, every required one is there; generated from Kubernetes' OpenAPI schema."""
    model = getattr(k8s, kind)
    known = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
    assert set(content) <= set(known), (kind, set(content) - set(known))
    model(**{name: content.get(key) for name, key in model.attribute_map.items()})
    for key, value in content.items():
        of = known[key]
        inner = of.removeprefix("list[").removesuffix("]")
        if inner.startswith("V1") and hasattr(k8s, inner):
            for each in value if of.startswith("list[") else [value]:
                check(each, inner)


@pytest.mark.parametrize("kind", [BuildCubeRequest, TrainRequest, PublishRequest])
def test_the_rendered_pod_keeps_to_the_schema_of_kubernetes(kind):
    spec = rendered(kind(world="synthetic", as_of=AS_OF))
    assert (spec["apiVersion"], spec["kind"]) == ("v1", "Pod")
    check({k: v for k, v in spec.items() if k not in ("apiVersion", "kind")} | {"apiVersion": "v1", "kind": "Pod"}, "V1Pod")


def test_a_pod_runs_the_same_command_as_a_child_and_holds_no_secret():
    spec = rendered(TrainRequest(world="synthetic", as_of=AS_OF, options={"epochs": 3}))
    base = next(c for c in spec["spec"]["containers"] if c["name"] == "base")
    assert "python -m pipeline train --world synthetic --as-of 2025-11-01T12:00:00Z --json --set epochs=3" in base["args"][0]
    assert {e["name"]: e.get("value") for e in base["env"]}["CUBECAST_STORE"] == "s3://bucket/prefix"
    assert base["envFrom"] == [{"secretRef": {"name": "cubecast-s3"}}]
    assert "canary-71" not in json.dumps(spec)


def test_only_training_asks_for_a_gpu_and_models_run_in_the_image_that_has_torch():
    train, cube = (rendered(kind(world="synthetic", as_of=AS_OF))["spec"] for kind in (TrainRequest, BuildCubeRequest))
    containers = [next(c for c in spec["containers"] if c["name"] == "base") for spec in (train, cube)]
    assert [c["resources"]["limits"].get("nvidia.com/gpu") for c in containers] == ["1", None]
    assert [c["image"].split("/")[1].split(":")[0] for c in containers] == ["trainer", "worker"]
    assert train["nodeSelector"] == {"cubecast/accelerator": "gpu"}
    assert train["tolerations"]


def test_a_pod_is_no_root_and_writes_nowhere_but_its_scratch():
    spec = rendered(BuildCubeRequest(world="synthetic", as_of=AS_OF))["spec"]
    base = next(c for c in spec["containers"] if c["name"] == "base")
    assert spec["securityContext"]["runAsNonRoot"]
    assert base["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def environment_of(spec):
    base = next(c for c in spec["spec"]["containers"] if c["name"] == "base")
    return {e["name"]: e.get("value") for e in base["env"]}


def test_a_pod_knows_which_attempt_it_is_and_where_its_store_is_and_gets_no_key(monkeypatch):
    for name, value in (("AWS_REGION", "eu-north-1"), ("AWS_ENDPOINT_URL", "https://s3.example.org"), ("AWS_ACCESS_KEY_ID", "canary-72")):
        monkeypatch.setenv(name, value)
    spec = rendered(BuildCubeRequest(world="synthetic", as_of=AS_OF), attempt="scheduled__71:3")
    told = environment_of(spec)
    assert (told["CUBECAST_ATTEMPT"], told["AWS_REGION"], told["AWS_ENDPOINT_URL"]) == (
        "scheduled__71:3",
        "eu-north-1",
        "https://s3.example.org",
    )
    assert "CUBECAST_ATTEMPT" not in environment_of(rendered(BuildCubeRequest(world="synthetic", as_of=AS_OF)))
    assert "canary" not in json.dumps(spec)


def test_a_pod_has_the_memory_and_the_time_that_its_kind_of_step_or_the_configuration_says():
    train, cube = (rendered(kind(world="synthetic", as_of=AS_OF))["spec"] for kind in (TrainRequest, BuildCubeRequest))
    chosen = rendered(TrainRequest(world="synthetic", as_of=AS_OF), memory=3 * 2**30, limit=timedelta(minutes=20))["spec"]
    limits = [next(c for c in spec["containers"] if c["name"] == "base")["resources"]["limits"]["memory"] for spec in (train, cube, chosen)]
    assert limits == [str(8 * 2**30), str(6 * 2**30), str(3 * 2**30)]
    assert [spec["activeDeadlineSeconds"] for spec in (train, chosen)] == [6 * 3600, 1200]


def test_on_which_nodes_trainings_run_is_configuration():
    train = TrainRequest(world="synthetic", as_of=AS_OF)
    assert rendered(train, gpu_selector="accelerator.example.org/kind=h200")["spec"]["nodeSelector"] == {
        "accelerator.example.org/kind": "h200"
    }
    assert not rendered(train, gpu_selector="")["spec"].get("nodeSelector")


def ended(code, name="base", *, reason=None, of_pod=None):
    state = SimpleNamespace(terminated=SimpleNamespace(exit_code=code, message=None, reason=reason))
    status = SimpleNamespace(phase="Failed", reason=of_pod, container_statuses=[SimpleNamespace(name=name, state=state)])
    return SimpleNamespace(status=status)


@pytest.mark.parametrize(
    ("how", "told", "kind"),
    [
        ((65, None, None), 65, AirflowFailException),
        ((75, None, None), 75, AirflowException),
        ((137, "Error", None), 137, AirflowException),
        ((137, "OOMKilled", None), 78, AirflowFailException),
        ((137, "Error", "DeadlineExceeded"), 124, AirflowException),
    ],
)
def test_how_a_pod_ended_decides_as_the_end_of_a_child_does(monkeypatch, how, told, kind):
    code, reason, of_pod = how

    def failing(self, context):
        monkeypatch.setattr(_pod.KubernetesPodOperator, "cleanup", lambda *rest: None)
        self.cleanup(None, ended(code, reason=reason, of_pod=of_pod))
        raise AirflowException("Pod returned a failure")

    monkeypatch.setattr(_pod._Pod, "execute_sync", failing)
    monkeypatch.setenv("CUBECAST_LAUNCH", "kubernetes")
    pushed = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _steps.Step(request=BuildCubeRequest, world=WORLD, clock="now")
        params, ti = (
            {"issue_time": AS_OF, "now": None},
            SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}), try_number=1),
        )
        with pytest.raises(kind) as caught:
            task.execute(
                {"triggering_asset_events": {}, "params": params, "ti": ti, "dag_run": SimpleNamespace(run_id="r", partition_date=None)}
            )
    assert isinstance(caught.value, AirflowFailException) == (kind is AirflowFailException)
    assert pushed == {"exit_code": told}


def test_a_way_of_launching_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="CUBECAST_LAUNCH=pod"):
        read_launch({"CUBECAST_LAUNCH": "pod"})
    for name, value in (("MEMORY", "much"), ("LIMIT", "long")):
        with pytest.raises(ConfigError, match=f"CUBECAST_LAUNCH_{name} = '{value}'"):
            read_launch({f"CUBECAST_LAUNCH_{name}": value})
    found = read_launch({"CUBECAST_LAUNCH": "kubernetes", "CUBECAST_LAUNCH_NAMESPACE": "weather"})
    assert (found.kind, found.namespace) == ("kubernetes", "weather")
