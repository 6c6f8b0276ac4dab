"""What a task is given when there is no Airflow around it: a world, times, notes, a context."""

import warnings
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from pipeline.api import Receipt, load_world
from pipeline.contracts.judging import PromotionRules
from pipeline.contracts.schedules import Schedule
from pipeline.contracts.times import parse_instant
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dags import _house

ENDED = load_world("synthetic")
LIVE = ENDED.model_copy(update={"recorded": None, "schedule": Schedule(ingest="*/15 * * * *", issue="0 6 * * *", train="0 2 * * *")})
T = {"issue_time": "2025-11-01T12:00:00Z", "now": "2025-11-03T00:00:00Z"}
HUMAN = PromotionRules(approval="human", time_out=timedelta(hours=6))
RECEIPT = Receipt(
    step="x",
    world="tiny",
    as_of=T["issue_time"],
    outcome="done",
    ids={"snapshot": "s1"},
    counts={"rows": 71},
    paths={"receipt": "/store/receipts/x.json"},
    details={"big": [1, 2]},
).model_dump_json()

PROPOSED = {
    "step": "promote",
    "outcome": "done",
    "world": "synthetic",
    "as_of": T["issue_time"],
    "ids": {"candidate": "new", "model_id": "old"},
    "notes": ["it takes 1 of 1 targets"],
    "details": {
        "decision": "pending",
        "previous": "old",
        "expires": "2025-11-02T12:00:00Z",
        "verdicts": [{"domain": "road", "variable": "flow", "published": "joint", "reasons": ["MAE 0.71 against 0.93"]}],
    },
}


def leave(store, receipt, source=None):
    """Leave a receipt in a store, as a step does; where it lies."""
    objects = ObjectStore(str(store))
    as_of = parse_instant(receipt["as_of"])
    return objects.url(Receipts(objects).save(receipt, as_of=as_of, source=source, recorded_time=datetime.now(UTC), seconds=1.5))


class Notes:
    proposed = ""
    """Where the receipt of the proposal lies."""

    def __init__(self):
        self.pushed, self.logged, self.try_number = {}, [], 2

    def xcom_push(self, key, value):
        self.pushed[key] = value

    def xcom_pull(self, task_ids, key=None):
        if task_ids == "promote":
            return {"ids": PROPOSED["ids"], "paths": {"receipt": self.proposed}}
        if key == "answer":
            return self.pushed["answer"]
        return "2025-11-01T13:07:00Z" if task_ids == "inputs" else {"ids": {"model_id": f"the one of {task_ids}"}}


def context(events=(), partition=None, **params):
    notes = Notes()
    found = {"a": [SimpleNamespace(extra=extra) for extra in events]}
    outlets = {asset: SimpleNamespace(extra={}) for asset in [_house.asset(ENDED, "cube")]}
    return {
        "triggering_asset_events": found,
        "params": params,
        "ti": notes,
        "outlet_events": outlets,
        "dag_run": SimpleNamespace(partition_date=partition, run_id="manual__71"),
    }


def silently(make, **given):
    """A task, made without what Airflow has to say of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(**given)
