"""The probe of a model: made when it is exported, from the files that are exported, and made again to verify it.

On a CPU in float32, so that the machine it is repeated on need not be one that trains.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.nn.functional import normalize
from transformers import AutoTokenizer

from contracts.dataset import Format
from contracts.probe import Probe, ProbeCase, ProbeFormat, ProbeSequence, Repetition
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import read_folder
from worker.tokens.template import ChatTemplateError
from worker.trainer.models import load_base
from worker.trainer.recipes.ranking import load_encoder

#: How far a value may be off: several times what other CPUs and other versions of torch make of the same weights, and
#: far less than a step of training. Log-probabilities are of the order of 1 to 10, parts of an embedding below 1.
TOLERANCES: dict[ProbeFormat, float] = {"sft": 1e-3, "pretrain": 1e-3, "ranking": 1e-4}

_DECIMALS = 7

_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "孤灯照不寐,风雨满西林。",
    "def add(a, b):\n    return a + b\n",
)
_TURNS = (("What is the capital of France?", "Paris."), ("下一句是?", "多少关心事。"), ("1 + 2 = ?", "3"))
SAMPLES: dict[ProbeFormat, tuple[dict[str, Any], ...]] = {
    "sft": tuple(
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for asked, said in _TURNS
    ),
    "pretrain": tuple({"text": text} for text in _TEXTS),
    "ranking": tuple({"query": asked, "docs": [{"text": said, "label": 1}]} for asked, said in _TURNS),
}


class LoadedModel:
    """A model's folder as the libraries load it, offline: a whole model, or an adapter on a ``base`` folder.

    Raises OSError, ValueError, KeyError or RuntimeError where they cannot.
    """

    def __init__(self, folder: Path, base: Path | None, *, embeds: bool) -> None:
        self._embeds = embeds
        self._encoder = SampleEncoder(read_folder(folder))
        # Never used here, but by everybody else: it must load, too.
        AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if embeds:
            self._model: Any = load_encoder(folder)
        elif base is not None:
            self._model = PeftModel.from_pretrained(load_base(base), folder)
        else:
            self._model = load_base(folder)
        self._model.eval()

    def case(self, format: Format, sample: dict[str, Any]) -> ProbeCase:
        """Return what the model makes of a sample. Raises ChatTemplateError where its template refuses it."""
        (encoded,) = self._encoder.encode(format, [sample])
        return ProbeCase(
            sample=sample,
            sequences=tuple(
                ProbeSequence(ids=tuple(sequence.ids), values=tuple(self._values(sequence.ids)))
                for sequence in encoded.sequences
            ),
        )

    @torch.no_grad()
    def _values(self, ids: Sequence[int]) -> list[float]:
        batch = torch.tensor([list(ids)])
        if self._embeds:
            embedding = self._model({"input_ids": batch, "attention_mask": torch.ones_like(batch)})
            return _rounded(normalize(embedding["sentence_embedding"].float(), dim=-1)[0])
        logits = self._model(input_ids=batch, use_cache=False).logits[0, :-1].float()
        return _rounded(logits.log_softmax(-1).gather(1, batch[0, 1:, None])[:, 0])


def probe_of(folder: Path, format: Format, base: Path | None = None) -> Probe:
    """Return the probe of a model that is trained on a format. ``base`` is the folder of what an adapter is on.

    Raises what LoadedModel does.
    """
    model = LoadedModel(folder, base, embeds=format == "ranking")
    asked: ProbeFormat = "sft" if format == "preference" else format
    try:
        cases = tuple(model.case(asked, sample) for sample in SAMPLES[asked])
    except ChatTemplateError:
        # A template need not take these conversations, only those it was trained with.
        asked = "pretrain"
        cases = tuple(model.case(asked, sample) for sample in SAMPLES[asked])
    return Probe(format=asked, tolerance=TOLERANCES[asked], cases=cases)


def repeated(probe: Probe, folder: Path, base: Path | None = None) -> Repetition:
    """Load a model, and ask it again what its probe was asked. Raises what LoadedModel and ``case`` do."""
    model = LoadedModel(folder, base, embeds=probe.format == "ranking")
    return compared(probe, [model.case(probe.format, case.sample) for case in probe.cases])


def compared(probe: Probe, cases: Sequence[ProbeCase]) -> Repetition:
    """Return how far the same samples' cases are from a probe's. Pure."""
    faults: list[str] = []
    largest = 0.0
    for number, (before, now) in enumerate(zip(probe.cases, cases, strict=True), 1):
        if [sequence.ids for sequence in before.sequences] != [sequence.ids for sequence in now.sequences]:
            faults.append(f"sample {number} is read as other tokens")
            continue
        difference = max(map(_difference, before.sequences, now.sequences))
        largest = max(largest, difference)
        # Not "above": what is no number is no repetition.
        if not difference <= probe.tolerance:
            faults.append(f"sample {number} is {difference:.3g} off, the tolerance is {probe.tolerance:g}")
    return Repetition(difference=largest, faults=tuple(faults))


def _difference(before: ProbeSequence, now: ProbeSequence) -> float:
    if len(before.values) != len(now.values):
        return float("inf")
    return max(abs(one - other) for one, other in zip(before.values, now.values, strict=True))


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, _DECIMALS) for value in values.tolist()]
