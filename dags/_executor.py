"""Airflow's LocalExecutor with an end that ends."""

from __future__ import annotations

from airflow.executors import local_executor


class LocalExecutor(local_executor.LocalExecutor):
    """Steps as child processes of the scheduler; a scheduler that lost its database ends, so that whoever keeps it can start it again.

    Airflow 3.3.2 tells its workers to end one by one, and leaves out those that have ended meanwhile, though each of them took a message
    that was another's: so a worker may never be told, and the scheduler waits for it for good, alive and scheduling nothing.
    """

    def end(self) -> None:
        """Tell as many workers as there are, then end as Airflow does; messages that nobody takes are dropped with their queue."""
        for _ in self.workers:
            self.activity_queue.put(None)
        super().end()
