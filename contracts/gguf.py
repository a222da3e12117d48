"""A model once more as one GGUF file, the format of llama.cpp, where a form asked for it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

#: Where the file is, in its model's folder.
GGUF_FILE = "model.gguf"

#: How the numbers of its matrices are stored.
GgufType = Literal["f16", "bf16", "f32"]


class Gguf(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of it: a file at ``path``, or none, which fails no job; ``reason`` and ``message`` then say why.

    ``reason`` is for programs, and there may be more of them: ``no-converter``, ``needs-merge``, ``converter-failed``,
    ``timed-out``, ``stopped``, ``unusable``.
    """

    status: Literal["made", "not-made"]
    type: GgufType
    path: Annotated[str, Meta(min_length=1)] | None = None
    reason: str | None = None
    message: str | None = None
