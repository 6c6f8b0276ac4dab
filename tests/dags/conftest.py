"""Airflow for tests: a home of its own, set before anything imports airflow."""

import os
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-for-tests-"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
