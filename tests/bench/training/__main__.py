"""Measure training: ``python -m tests.bench.training [--size ci] [--epochs 2] [--repeats 3] [--json]``.

Contenders take turns in fresh processes; ratios are medians of the ratios of neighbours. ``--size 1b`` is for a GPU.
Exit codes: 0 every target is met, 1 one is not, 2 could not measure.
"""

import argparse
import json
import sys
from statistics import median
from typing import Any

from tests.bench.harness import Failed, Job, cores, figure, table, take_turns
from tests.bench.training.task import SIZES

_HERE = "tests.bench.training.contenders"
_CONTENDERS = {"ours": "ours", "TRL, same settings": "trl", "transformers": "transformers"}
_DEFAULTS = {"TRL, its defaults": "trl_defaults"}
#: The least that ours must be, as a multiple of a contender, by where it runs.
_TARGETS = {"ci": {"TRL, same settings": 1.0}, "1b": {"TRL, its defaults": 1.3}}


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.training")
    parser.add_argument("--size", choices=SIZES, default="ci")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    contenders = _CONTENDERS | (_DEFAULTS if asked.size != "ci" else {})
    # Libraries write their tables and warnings; what is measured comes by another way.
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TRL_EXPERIMENTAL_SILENCE": "1"}
    jobs = {
        name: [Job(f"{_HERE}:{function}", (asked.size, asked.epochs), cores(), quiet)]
        for name, function in contenders.items()
    }
    try:
        runs = take_turns(jobs, asked.repeats)
    except Failed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found = {name: [run.value for (run,) in rounds] for name, rounds in runs.items()}
    ratios = {
        name: median(mine["rate"] / theirs["rate"] for mine, theirs in zip(found["ours"], each, strict=True))
        for name, each in found.items()
    }
    missed = [name for name, least in _TARGETS[asked.size].items() if ratios[name] < least]
    if asked.json:
        sys.stdout.write(json.dumps({"runs": found, "ours_is": ratios, "missed": missed}) + "\n")
    else:
        _show(asked.size, found, ratios)
    return 1 if missed else 0


def _show(size: str, found: dict[str, list[dict[str, Any]]], ratios: dict[str, float]) -> None:
    rows = []
    for name, runs in found.items():
        rate = figure([run["rate"] for run in runs])
        memory = figure([run["memory_bytes"] for run in runs]).median / 2**20
        loss = f"{runs[-1]['first_loss']:.2f} -> {runs[-1]['last_loss']:.2f}"
        mfu = runs[-1]["mfu"]
        ours_is = "" if name == "ours" else f"{ratios[name]:.2f}x"
        least = f"must reach {_TARGETS[size][name]:g}x" if name in _TARGETS[size] else ""
        shown = f"{mfu:.0%}" if mfu else ""
        rows.append((name, f"{rate.median:,.0f}", f"±{rate.spread:.0%}", f"{memory:,.0f}", loss, shown, ours_is, least))
    header = (f"training, {size}", "tokens/s", "spread", "MiB", "loss", "MFU", "ours is", "")
    sys.stdout.write(f"\n{table(header, rows)}\n")


if __name__ == "__main__":
    sys.exit(main())
