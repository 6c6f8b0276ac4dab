"""A step as a Kubernetes pod, from the same request; imported only where CUBECAST_LAUNCH says so."""

from __future__ import annotations

import json
import shlex
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s

from dags._child import OUT_OF_MEMORY, OUT_OF_TIME, attempt_of, over_memory, over_time
from pipeline.api import EvaluateRequest, Launch, PredictRequest, ReplayRequest, Request, TrainRequest, child_environment, command

USER = 10001
MODELS = (TrainRequest, EvaluateRequest, PredictRequest, ReplayRequest)
"""Requests that need torch."""
SIZES = {"train": ("2", 8), "build_cube": ("1", 6)}
"""Processors and GiB asked for where nobody says how much; one processor and 2 GiB elsewhere."""


PLAIN = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""What a pod gets of Airflow's environment beside CUBECAST_ and OMP_: where things are, and no keys."""
PATIENCE = 900
"""Seconds for a pod to get a node: those with a GPU may have to be started."""


class _Pod(KubernetesPodOperator):
    """Remembers how the step's container ended."""

    exit_code: int | None = None
    reasons: frozenset[str] = frozenset()

    def cleanup(self, pod: Any, remote_pod: Any, xcom_result: Any = None, context: Any = None) -> None:
        """Note the exit code and the reasons before anything is raised about them."""
        told = remote_pod.status if remote_pod else None
        self.reasons = frozenset({told.reason} if told and told.reason else ())
        for status in (told.container_statuses if told else None) or []:
            if status.name == self.base_container_name and status.state and status.state.terminated:
                self.exit_code = status.state.terminated.exit_code
                self.reasons |= {status.state.terminated.reason}
        super().cleanup(pod, remote_pod, xcom_result, context)


class Pod:
    """Runs requests in pods, one at a time."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._pod: _Pod | None = None

    def run(self, request: Request, context: Any) -> tuple[int, str]:
        """The exit code and the receipt of the request's command; its stderr goes to the log.

        Raises:
            AirflowException: The pod never ran.
        """
        self._pod = pod_of(request, self._launch, attempt_of(context))
        try:
            receipt = self._pod.execute_sync(context)
        except AirflowException:
            if "DeadlineExceeded" in self._pod.reasons:
                self._pod.log.info("%s", over_time(request, self._launch))
                return OUT_OF_TIME, ""
            if "OOMKilled" in self._pod.reasons:
                self._pod.log.info("%s", over_memory(request, "the kernel ended it", size_of(request, self._launch)[1]))
                return OUT_OF_MEMORY, ""
            if not self._pod.exit_code:
                raise
            return self._pod.exit_code, ""
        return 0, json.dumps(receipt)

    def kill(self) -> None:
        """End the pod."""
        if self._pod is not None:
            self._pod.on_kill()


def size_of(request: Request, launch: Launch) -> tuple[str, int]:
    """Processors and bytes that the pod of a request asks for."""
    cpu, gib = SIZES.get(request.step, ("1", 2))
    return cpu, launch.memory or gib * 2**30


def pod_of(request: Request, launch: Launch, attempt: str = "") -> _Pod:
    """The operator that runs a request: no root, nothing that can be written but its scratch folder and the XCom file."""
    cpu, size = size_of(request, launch)
    memory = str(size)
    gpu = {"nvidia.com/gpu": "1"} if isinstance(request, TrainRequest) else {}
    label, _, value = launch.gpu_selector.partition("=")
    words = ["python", *command(request)[1:]]
    plain = {k: v for k, v in child_environment().items() if k.startswith(("CUBECAST_", "OMP_")) or k in PLAIN}
    if attempt:
        plain["CUBECAST_ATTEMPT"] = attempt
    return _Pod(
        task_id=request.step,
        name=f"cubecast-{request.world}-{request.step}".replace("_", "-"),
        namespace=launch.namespace,
        image=launch.trainer_image if isinstance(request, MODELS) else launch.worker_image,
        cmds=["sh", "-c"],
        arguments=[f"{shlex.join(words)} > /airflow/xcom/return.json"],
        env_vars=[k8s.V1EnvVar(name=name, value=value) for name, value in sorted(plain.items())],
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=launch.secret))],
        container_resources=k8s.V1ResourceRequirements(requests={"cpu": cpu, "memory": memory}, limits={"memory": memory, **gpu}),
        active_deadline_seconds=int(launch.limit.total_seconds()),
        startup_timeout_seconds=PATIENCE,
        node_selector={label: value} if gpu and label else {},
        tolerations=[k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")] if gpu else [],
        labels={"app.kubernetes.io/name": "cubecast", "cubecast/world": request.world, "cubecast/step": request.step},
        security_context=k8s.V1PodSecurityContext(run_as_user=USER, run_as_group=USER, run_as_non_root=True, fs_group=USER),
        container_security_context=k8s.V1SecurityContext(
            allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=k8s.V1Capabilities(drop=["ALL"])
        ),
        volumes=[k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource())],
        volume_mounts=[k8s.V1VolumeMount(name="scratch", mount_path="/tmp")],  # noqa: S108
        automount_service_account_token=False,
        do_xcom_push=True,
        get_logs=True,
        on_finish_action="delete_pod",
        reattach_on_restart=True,
        random_name_suffix=True,
    )
