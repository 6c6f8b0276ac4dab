"""What a shared Airflow stands on."""

import json

from pipeline.local_airflow import prepare as module
from pipeline.settings import Settings


def test_pools_that_are_there_keep_the_slots_that_someone_gave_them(tmp_path, monkeypatch):
    asked = []

    def airflow(*words):
        asked.append(words)
        return "a line of the log\n" + json.dumps([{"pool": "default_pool"}, {"pool": "replay", "slots": "8"}])

    monkeypatch.setattr(module, "_airflow", airflow)
    said = module.prepare(Settings(store=str(tmp_path), data=None, dask=None, airflow_home=tmp_path / "airflow"))
    assert {words[2]: words[3] for words in asked if words[:2] == ("pools", "set")} == {"gpu": "1", "cube": "1"}
    assert (tmp_path / "airflow" / "passwords.json").read_text().startswith('{"admin"')
    assert said["store"] == str(tmp_path)
