"""The probe of a model: what it says to fixed prompts, kept beside it, for whoever loads it to compare.

``probe.json`` in a model's folder. The prompts are the same for all models: no sample of anybody's is in one.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

PROBE_FILE = "probe.json"


class ProbeCase(Struct, frozen=True, kw_only=True):
    """What a model made of one prompt.

    ``input_ids`` are the prompt as its tokenizer reads it. ``values``: of a language model the log-probabilities of the
    ``watched`` tokens as the next one, of an embedding model the embedding.
    """

    prompt: str
    input_ids: tuple[int, ...]
    watched: tuple[int, ...] = ()
    values: Annotated[tuple[float, ...], Meta(min_length=1)]


class Probe(Struct, frozen=True, kw_only=True):
    """A model's answers, computed on a CPU in float32; a value repeats where it is at most ``tolerance`` off.

    ``asked`` is how: ``chat`` through the chat template, ``text`` as it is, ``embedding`` as
    sentence-transformers does.
    """

    schema_version: Literal[1] = 1
    asked: Literal["chat", "text", "embedding"]
    tolerance: Annotated[float, Meta(gt=0)]
    cases: Annotated[tuple[ProbeCase, ...], Meta(min_length=1)]


class Repetition(Struct, frozen=True, kw_only=True):
    """A probe once more: the largest difference of a value, and what did not repeat, each in words for people."""

    difference: float
    faults: tuple[str, ...] = ()
