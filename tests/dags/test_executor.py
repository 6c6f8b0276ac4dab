"""A scheduler that must end does end: Airflow's own executor may wait for good for a worker that it never told."""

import os
import subprocess
import sys

from pipeline.settings import project_folder

ENDS = """
import time
from dags._executor import LocalExecutor

executor = LocalExecutor(parallelism=4)
executor.start()
put = executor.activity_queue.put


def slowly(message):
    put(message)
    time.sleep(0.3)  # whoever took it has ended before the next is asked whether it is alive


executor.activity_queue.put = slowly
executor.end()
print("ended")
"""


def test_an_executor_ends_although_its_workers_end_while_others_are_being_told(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(project_folder()), "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    child = subprocess.Popen(
        [sys.executable, "-c", ENDS], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = child.communicate(timeout=120)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, 9)
            child.wait()
    assert child.returncode == 0
    assert said.rstrip().endswith("ended")
