"""The probe of a model: what it makes of fixed samples, kept beside it for whoever loads it to compare.

``probe.json`` in a model's folder. The samples are the same for all models: nobody's data are in one.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

PROBE_FILE = "probe.json"
#: Where the merged weights of an adapter are, in its model's folder.
MERGED_FOLDER = "merged"

ProbeFormat = Literal["sft", "pretrain", "ranking"]


class ProbeSequence(Struct, frozen=True, kw_only=True):
    """What a model made of a text.

    ``ids`` are the text as its tokenizer and template write it. ``values``: of a language model the log-probability of
    each token but the first, of an embedding model the embedding.
    """

    ids: Annotated[tuple[int, ...], Meta(min_length=1)]
    values: Annotated[tuple[float, ...], Meta(min_length=1)]


class ProbeCase(Struct, frozen=True, kw_only=True):
    """A sample, as a line of a dataset has it, and what the model made of each of its texts."""

    sample: dict[str, Any]
    sequences: Annotated[tuple[ProbeSequence, ...], Meta(min_length=1)]


class Probe(Struct, frozen=True, kw_only=True):
    """A model's answers, computed in float32 on a CPU. One repeats where no value is more than ``tolerance`` off."""

    schema_version: Literal[1] = 1
    format: ProbeFormat
    tolerance: Annotated[float, Meta(gt=0)]
    cases: Annotated[tuple[ProbeCase, ...], Meta(min_length=1)]


class Repetition(Struct, frozen=True, kw_only=True):
    """A probe once more: the largest difference of a value, and everything that did not repeat, for people."""

    difference: float
    faults: tuple[str, ...] = ()
