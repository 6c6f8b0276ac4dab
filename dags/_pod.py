"""A step as a Kubernetes pod, from the same request; imported only where CUBECAST_LAUNCH says so."""

from __future__ import annotations

import json
import shlex
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s

from dags._child import attempt_of
from pipeline.api import EvaluateRequest, Launch, PredictRequest, ReplayRequest, Request, TrainRequest, child_environment, command

USER = 10001
MODELS = (TrainRequest, EvaluateRequest, PredictRequest, ReplayRequest)
"""Requests that need torch."""
SIZES = {"train": ("2", "8Gi"), "build_cube": ("1", "6Gi")}
"""Processors and memory asked for; one processor and 2 GiB elsewhere."""


class _Pod(KubernetesPodOperator):
    """Remembers how the step's container ended."""

    exit_code: int | None = None

    def cleanup(self, pod: Any, remote_pod: Any, xcom_result: Any = None, context: Any = None) -> None:
        """Note the exit code before anything is raised about it."""
        for status in (remote_pod.status.container_statuses if remote_pod and remote_pod.status else None) or []:
            if status.name == self.base_container_name and status.state and status.state.terminated:
                self.exit_code = status.state.terminated.exit_code
        super().cleanup(pod, remote_pod, xcom_result, context)


class Pod:
    """Runs requests in pods, one at a time."""

    def __init__(self, launch: Launch, memory: int | None = None) -> None:
        self._launch, self._memory = launch, memory
        self._pod: _Pod | None = None

    def run(self, request: Request, context: Any) -> tuple[int, str]:
        """The exit code and the receipt of the request's command; its stderr goes to the log.

        Raises:
            AirflowException: The pod never ran.
        """
        self._pod = pod_of(request, self._launch, self._memory, attempt_of(context))
        try:
            receipt = self._pod.execute_sync(context)
        except AirflowException:
            if not self._pod.exit_code:
                raise
            return self._pod.exit_code, ""
        return 0, json.dumps(receipt)

    def kill(self) -> None:
        """End the pod."""
        if self._pod is not None:
            self._pod.on_kill()


def pod_of(request: Request, launch: Launch, memory: int | None = None, attempt: str = "") -> _Pod:
    """The operator that runs a request: no root, nothing that can be written but its scratch folder and the XCom file."""
    heavy = isinstance(request, MODELS)
    cpu, size = SIZES.get(request.step, ("1", "2Gi"))
    size = str(memory) if memory else size
    gpu = {"nvidia.com/gpu": "1"} if isinstance(request, TrainRequest) else {}
    words = ["python", *command(request)[1:]]
    plain = {k: v for k, v in child_environment().items() if k.startswith(("CUBECAST_", "OMP_", "OTEL_EXPORTER_OTLP_ENDPOINT"))}
    if attempt:
        plain["CUBECAST_ATTEMPT"] = attempt
    return _Pod(
        task_id=request.step,
        name=f"cubecast-{request.world}-{request.step}".replace("_", "-"),
        namespace=launch.namespace,
        image=launch.trainer_image if heavy else launch.worker_image,
        cmds=["sh", "-c"],
        arguments=[f"{shlex.join(words)} > /airflow/xcom/return.json"],
        env_vars=[k8s.V1EnvVar(name=name, value=value) for name, value in sorted(plain.items())],
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=launch.secret))],
        container_resources=k8s.V1ResourceRequirements(requests={"cpu": cpu, "memory": size}, limits={"memory": size, **gpu}),
        node_selector={"cubecast/accelerator": "gpu"} if gpu else {},
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
