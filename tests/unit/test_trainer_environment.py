"""What is set before torch and transformers are imported."""

import os
import subprocess
import sys

_COUNTING = """
from worker.trainer import environment
environment.prepare()
from tqdm.auto import tqdm
list(tqdm(range(3)))
"""


def test_a_log_gets_no_progress_bars() -> None:
    plain = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    run = subprocess.run([sys.executable, "-c", _COUNTING], capture_output=True, text=True, check=True, env=plain)
    assert (run.stdout, run.stderr) == ("", "")
