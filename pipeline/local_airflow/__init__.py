"""A real Airflow of one's own, started and ended by one command. Never imports airflow: it launches its command."""
