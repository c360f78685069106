"""What the engine's hints are called. Their words are run ids; see `infra/db/hints.py`."""

RUNS = "portico_runs"
"""there is something to take"""
CANCELS = "portico_run_cancels"
"""whoever runs this is to stop it"""
