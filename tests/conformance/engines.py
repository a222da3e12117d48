"""Which executors the suite is put through; a test holds it to the registry (tests/unit/test_executors_file.py)."""

from tests import ray_servers, slurm_servers

#: By name, whether this machine has the engine: `pytest` says in its header where there is no Ray, or no Slurm.
POSSIBLE = {"local": True, "ray": ray_servers.possible(), "slurm": slurm_servers.possible()}
HERE = [name for name, possible in POSSIBLE.items() if possible]

#: Those no real engine was found for, and what they are tried in instead.
ELSEWHERE = {"kubernetes": "tests/contract/test_kubernetes_executor.py"}
