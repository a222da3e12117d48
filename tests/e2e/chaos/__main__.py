"""``python -m tests.e2e.chaos --rounds 50 --seed 1``: play rounds, one line each; exit code 1 where one was wrong."""

import argparse
import asyncio
import shutil
import sys
from collections import Counter

from tests.e2e.chaos.boundaries import BOUNDARIES
from tests.e2e.chaos.round import Outcome, play
from tests.e2e.chaos.trainers import TrainerName

#: Rounds in a row that have a trap at every boundary.
_FULL_TURN = 3


def main() -> int:
    """Play rounds; a round that was right leaves nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each next one has the next")
    parser.add_argument("--tasks", type=int, help="a round; the default is 10, and 4 with the real trainer")
    parser.add_argument(
        "--real-every",
        type=int,
        default=10,
        metavar="N",
        help="rounds whose seed N divides use the real trainer, with torch; 0: none does; 1: all do (default: 10)",
    )
    given = parser.parse_args()
    wrong, died_at = 0, Counter(dict.fromkeys(BOUNDARIES, 0))
    for seed in range(given.seed, given.seed + given.rounds):
        # By the seed, so that a round alone is what it was among others.
        trainer: TrainerName = "real" if given.real_every and seed % given.real_every == 0 else "stand-in"
        outcome = asyncio.run(play(seed, trainer, given.tasks))
        died_at.update(outcome.died_at)
        sys.stdout.write(_line(outcome))
        if outcome.faults:
            wrong += 1
            sys.stdout.write("".join(f"  {fault}\n" for fault in outcome.faults))
            sys.stdout.write(f"  troubles: {'; '.join(outcome.troubles)}\n  logs: {outcome.logs}\n")
        else:
            shutil.rmtree(outcome.logs, ignore_errors=True)
        sys.stdout.flush()
    never = [boundary for boundary, times in died_at.items() if not times]
    sys.stdout.write(f"workers died {', '.join(f'{boundary} {times}' for boundary, times in died_at.items())}\n")
    sys.stdout.write(f"{given.rounds - wrong} of {given.rounds} rounds were right\n")
    if never and given.rounds >= _FULL_TURN:
        sys.stdout.write(f"no worker died {', '.join(never)}: that is not shown\n")
        return 1
    return 1 if wrong else 0


def _line(outcome: Outcome) -> str:
    survived = f" (not {', '.join(outcome.survived)})" if outcome.survived else ""
    return (
        f"seed {outcome.seed}: {'WRONG' if outcome.faults else 'right'} after {outcome.seconds:.0f} s;"
        f" {outcome.trainer} trainer, {outcome.tasks} tasks, {outcome.jobs} jobs, {outcome.trainers_killed} trainers"
        f" killed, {len(outcome.resumed)} resumed; workers died {outcome.deaths} times,"
        f" at {', '.join(outcome.died_at)}{survived}; {outcome.s3_faults} faults of the bucket\n"
    )


if __name__ == "__main__":
    sys.exit(main())
