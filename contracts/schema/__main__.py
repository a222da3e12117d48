"""``python -m contracts.schema write|check [DIRECTORY]``: the committed documents follow the contracts.

``check`` exits 1, with words, where a document differs; ``write`` brings them up to date, and refuses (exit 1) to
overwrite a version with a breaking change.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from contracts.schema.committed import breaking, stale
from contracts.schema.derive import as_text, documents
from contracts.topics import TOPICS, Topic

_HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None, topics: Iterable[Topic] = tuple(TOPICS.values())) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.schema", description="Schemas derived from contracts/.")
    parser.add_argument("command", choices=("write", "check"))
    parser.add_argument("directory", type=Path, nargs="?", default=_HERE)
    parsed = parser.parse_args(arguments)
    topics = tuple(topics)
    committed = _read(parsed.directory)
    faults = breaking(committed, topics)
    if parsed.command == "check":
        faults += stale(committed, topics)
    elif not faults:
        _write(parsed.directory, committed, topics)
        faults = stale(_read(parsed.directory), topics)  # what writing cannot mend: orphans, lost versions
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def _read(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.json"))}


def _write(directory: Path, committed: dict[str, str], topics: tuple[Topic, ...]) -> None:
    for name, document in documents(topics).items():
        text = as_text(document)
        if committed.get(name) != text:
            (directory / name).write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    sys.exit(main())
