"""Where OpenLineage events go."""

import json

import pytest

from pipeline.errors import ConfigError
from pipeline.local_airflow.lineage import kept_in, read_transport

HTTP = {"type": "http", "url": "https://lineage.example", "auth": {"type": "api_key", "apiKey": "canary"}}


def test_a_rehearsal_keeps_events_in_a_file_and_sends_them_where_the_environment_says(tmp_path):
    file = {"type": "file", "log_file_path": str(tmp_path), "append": True}
    assert json.loads(kept_in(tmp_path, None)) == file
    assert json.loads(kept_in(tmp_path, json.dumps(HTTP))) == {"type": "composite", "transports": {"kept": file, "sent": HTTP}}


@pytest.mark.parametrize(
    "url", ["https://ada:canary@lineage.example", "https://canary@lineage.example", "https://lineage.example/?key=canary"]
)
def test_an_address_with_a_secret_is_refused_and_not_repeated_for_it_would_be_in_logs(url):
    with pytest.raises(ConfigError, match=r"lineage\.example .*custom_headers") as caught:
        read_transport(json.dumps({"type": "composite", "transports": [HTTP | {"url": url}]}))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["canary", "[]", "{}"])
def test_what_is_no_transport_is_refused_and_not_repeated(text):
    with pytest.raises(ConfigError, match="no JSON object") as caught:
        read_transport(text)
    assert "canary" not in str(caught.value)
