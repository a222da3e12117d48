"""Dataset validation against its peers: `python -m tests.bench.validate`."""
