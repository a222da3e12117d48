"""``worker completion``: what a shell needs to complete commands, options and phases."""

from typing import Annotated, Literal

import typer

# Typer says nowhere that these are its own to give away; a test asks a shell's question, and fails where they change.
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]

_PROGRAM = "worker"
#: In it a shell says that it asks for completions.
_VARIABLE = "_WORKER_COMPLETE"


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="The shell.")],
) -> None:
    """Print what makes a shell complete this command.

    For the shell to read at its start; nothing is installed.

    Exit code 0; 2: no such shell.

    \b
    Examples:
      worker completion bash > ~/.local/share/bash-completion/completions/worker
      worker completion zsh > ~/.zfunc/_worker       # with fpath+=~/.zfunc before compinit
      worker completion fish > ~/.config/fish/completions/worker.fish
    """
    typer.echo(get_completion_script(prog_name=_PROGRAM, complete_var=_VARIABLE, shell=shell))


def prepare() -> None:
    """Let this process answer the questions that these scripts ask."""
    completion_init()
