"""How commands end when they do not end by themselves: one line, one exit code, for all of them alike."""

import os
import select
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from handlers.errors import Transient
from worker.commands.output import print_json
from worker.could_not import CouldNot, NotRight

#: Done, and the thing asked about is right; it is not right; it could not be done.
DONE, NOT_RIGHT, COULD_NOT = 0, 1, 2
#: As a shell says it of a program that SIGPIPE ended.
READER_GONE = 141

_WORDS = "worker.commands.exits.words"


class CommandLine(TyperGroup):
    """The group of all commands. Whatever ends one of them ends here.

    What is not right (NotRight) is a line on stderr and exit code 1; what could not be done (CouldNot, and a bucket,
    broker or executor that does not answer) one and exit code 2; so is a bug, with the place it is in, and a command
    line that is none, which typer says. With ``--json`` the line is also ``{"error": ...}`` on stdout; with ``--debug``
    a traceback goes before it. A reader of stdout who leaves (``| head``) is no error: exit code 141,
    without a word. Ctrl-C is exit code 130, which is typer's own doing.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and remember what was said, for whoever has to name it."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Invoke a command, and say what ended it."""
        words: list[str] = ctx.meta[_WORDS]
        try:
            with _flushed():
                return super().invoke(ctx)
        except typer.Exit as end:
            _trace(end.__cause__, ctx)  # of commands that say themselves what they could not do
            raise
        except typer.Abort:
            raise
        except typer.TyperException as error:
            # How its own parts call an error to each other.
            error.message = error.message.removeprefix("Value error, ")
            if "--json" in words:
                _print_error(_one_line(error.format_message()))
            raise
        except Exception as error:  # noqa: BLE001 - the last place that could say it
            if isinstance(error, BrokenPipeError) and _silence(sys.stdout, sys.stderr):
                raise typer.Exit(READER_GONE) from None
            debug = _trace(error, ctx)
            _say(f"worker {_name(self, words)}", _text(error, words, debug=debug), as_json="--json" in words)
            raise typer.Exit(NOT_RIGHT if isinstance(error, NotRight) else COULD_NOT) from None


def _trace(error: BaseException | None, ctx: Any) -> bool:
    """Show an error's traceback where ``--debug`` was said; return whether it was."""
    debug = bool(ctx.params.get("debug"))
    if debug and error is not None:
        traceback.print_exception(error)
    return debug


def _text(error: Exception, words: Sequence[str], *, debug: bool) -> str:
    if isinstance(error, CouldNot | NotRight | Transient):
        return _one_line(str(error))
    bug = f"{type(error).__name__}: {_one_line(str(error))} (at {_place(error)}); this is a bug in the worker"
    return bug if debug else f"{bug}: {shlex.join(['worker', '--debug', *words])} shows its traceback"


def _say(name: str, text: str, *, as_json: bool) -> None:
    if as_json:
        _print_error(text)
    from worker.validate.excerpt import safe  # noqa: PLC0415 - only where there is something to say

    typer.echo(safe(f"{name}: {text}"), err=True)


def _print_error(text: str) -> None:
    print_json({"error": text})
    sys.stdout.flush()


def _name(group: TyperGroup, words: Sequence[str]) -> str:
    """Return the command that was called, as it is called: ``dead-letters retry``."""
    found: list[str] = []
    known: Any = group
    for word in words:
        if not isinstance(known, TyperGroup) or (word not in known.commands and not word.startswith("-")):
            break
        if word in known.commands:
            found.append(word)
            known = known.commands[word]
    return " ".join(found)


def _place(error: Exception) -> str:
    """Return where it was raised, as far as it is our own code: what libraries do, one of our lines asked for."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_OURS)]
    frame = (ours or frames)[-1]
    return f"{frame.filename.removeprefix(_ROOT)}:{frame.lineno}"


_ROOT = __file__.removesuffix("worker/commands/exits.py")
_OURS = tuple(_ROOT + package for package in ("worker/", "handlers/", "contracts/"))


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


@contextmanager
def _flushed() -> Iterator[None]:
    """Write out what was printed while there is somebody to hear of a reader who is gone."""
    try:
        yield
    finally:
        sys.stdout.flush()


def _silence(*streams: TextIO) -> bool:
    """Let streams whose reader is gone lead nowhere; return whether there were any."""
    gone = False
    for stream in streams:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            # What it still holds is written at the interpreter's end, which would complain.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            gone = True
    return gone
