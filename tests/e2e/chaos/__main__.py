"""``python -m tests.e2e.chaos --rounds 50 --seed 1``: play rounds, one line each; exit code 1 where one was wrong."""

import argparse
import asyncio
import shutil
import sys

from tests.e2e.chaos.round import play


def main() -> int:
    """Play rounds; a round that was right leaves nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each next one has the next")
    parser.add_argument("--tasks", type=int, default=10)
    given = parser.parse_args()
    wrong = 0
    for seed in range(given.seed, given.seed + given.rounds):
        outcome = asyncio.run(play(seed, given.tasks))
        said = (
            f"seed {seed}: {'WRONG' if outcome.faults else 'right'} after {outcome.seconds:.0f} s; {given.tasks} tasks,"
            f" {outcome.runs} runs begun, workers died {outcome.deaths} times, {outcome.s3_faults} faults of the bucket"
        )
        sys.stdout.write(said + "\n")
        if outcome.faults:
            wrong += 1
            sys.stdout.write("".join(f"  {fault}\n" for fault in outcome.faults))
            sys.stdout.write(f"  troubles: {'; '.join(outcome.troubles)}\n  logs: {outcome.logs}\n")
        else:
            shutil.rmtree(outcome.logs, ignore_errors=True)
        sys.stdout.flush()
    sys.stdout.write(f"{given.rounds - wrong} of {given.rounds} rounds were right\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
