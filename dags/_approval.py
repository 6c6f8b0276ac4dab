"""A proposal put to a person: approved, rejected, or left unanswered, which keeps the champion. No worker is held meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException

from dags._receipts import receipts_of
from dags._steps import Step
from pipeline.api import AnswerRequest, Request, World

TASK = "approval"
CHOICES = {"Approve": "approve", "Reject": "reject"}


class Approval(HITLBranchOperator):
    """Asks about what the task `promote` of this run proposes; skips where it proposes nothing, and where nobody answers in time."""

    def __init__(self, *, world: World, **rest: Any) -> None:
        own = {
            "task_id": TASK,
            "subject": f"{world.title}: does the candidate become the champion?",
            "options": list(CHOICES),
            "options_mapping": CHOICES,
            "defaults": "Reject",
            "params": {"reason": Param("", type="string", title="Reason", description="Kept in the log of decisions for good.")},
            "response_timeout": world.promotion.time_out,
            "execution_timeout": None,
            "doc_md": "A person approves or rejects the proposal; without an answer in time it lapses, and the champion stays.",
        }
        super().__init__(**rest | own)
        self.world = world

    def execute(self, context: Any) -> Any:
        """Ask, and wait without holding a worker."""
        proposed = proposal_of(context["ti"].xcom_pull(task_ids="promote"))
        details = proposed["details"]
        if details["decision"] != "pending":
            raise AirflowSkipException(f"nothing to approve: the evidence says {details['decision']}")
        if self.world.recorded is None:
            self.response_timeout = datetime.fromisoformat(details["expires"]) - datetime.now(UTC)
            if self.response_timeout.total_seconds() <= 0:
                raise AirflowSkipException(f"the proposal lapsed at {details['expires']}: the champion stays")
        self.body = told(proposed)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Hand the answer on to the task that enters it."""
        if event.get("timedout"):
            raise AirflowSkipException("nobody answered in time: the proposal lapses, and the champion stays")
        person = (event.get("responded_by_user") or {}).get("name") or "a person"
        said = {"reason": (event.get("params_input") or {}).get("reason") or "", "person": person, "at": event["responded_at"].isoformat()}
        context["ti"].xcom_push(key="answer", value=said)
        return super().execute_complete(context, event)


class Answer(Step):
    """Enters the answer, from now on in a live world, and from the issue time on in a recorded one, whose clock stands still."""

    def __init__(self, *, world: World, answer: Literal["approve", "reject"], **rest: Any) -> None:
        super().__init__(
            request=AnswerRequest,
            world=world,
            clock="issue_time",
            fields={"answer": answer},
            model_of="promote",
            **{"task_id": answer} | rest,
        )

    def ask(self, context: Any, when: Mapping[str, str]) -> Request:
        """The request that enters what was said."""
        said = context["ti"].xcom_pull(task_ids=TASK, key="answer")
        self.fields["reason"] = f"{said['reason'] or 'no reason given'} ({said['person']}, in Airflow)"
        return super().ask(context, when if self.world.recorded else {**when, "issue_time": said["at"]})


def proposal_of(known: Mapping[str, Any]) -> dict[str, Any]:
    """The whole receipt of `promote`, of which an XCom gives the ids and paths.

    Raises:
        AirflowException: It cannot be read now.
        AirflowSkipException: Another candidate has been proposed since.
    """
    [found] = receipts_of([known])
    if found["ids"]["candidate"] != known["ids"]["candidate"]:
        raise AirflowSkipException(f"candidate {found['ids']['candidate']} has been proposed since: answer that proposal")
    return found


def told(proposed: Mapping[str, Any]) -> str:
    """What a person should know before answering, as Markdown: every target with the reasons of its verdict."""
    details, world = proposed["details"], proposed["world"]
    lines = [
        f"Candidate `{proposed['ids']['candidate']}` in place of {details['previous'] or 'no champion'}, as of {proposed['as_of']}: "
        f"{' '.join(proposed['notes'])}.",
        f"All scores: `cubecast models show {proposed['ids']['candidate']} --world {world}`.",
    ]
    for verdict in details["verdicts"]:
        lines.append(f"**{verdict['domain']} {verdict['variable']}: {verdict['published']}**")
        lines.append("\n".join(f"- {reason}" for reason in verdict["reasons"]))
    return "\n\n".join(lines)
