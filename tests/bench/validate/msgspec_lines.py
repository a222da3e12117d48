"""msgspec, typed, a line at a time: types and ranges in C, the rest by hand. What it refuses is read again untyped."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tests.bench.validate.checks import FAULT, READ_BYTES, Score, judge
from tests.bench.validate.names import repeats, repeats_typed
from tests.bench.validate.result import Format, Result
from tests.bench.validate.typed import judge_typed

Text = Annotated[str, Meta(min_length=1)]


class Message(Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant", "tool"]
    content: Text
    loss_weight: Annotated[float, Meta(ge=0, le=1)] | None = None
    reasoning_content: str | None = None
    name: str | None = None


class Sft(Struct, gc=False, forbid_unknown_fields=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    thinking: str | bool | dict[str, Any] | None = None


class Pretrain(Struct, gc=False, forbid_unknown_fields=True):
    text: Text


def check(path: str, format: Format) -> Result:
    score, judge_sample, judge_untyped = Score(), judge_typed(format), judge(format)
    repeats_a_name, repeats_a_name_untyped = repeats_typed(format), repeats(format)
    decode = msgspec.json.Decoder(Sft if format == "sft" else Pretrain).decode
    with Path(path).open("rb", buffering=READ_BYTES) as file:
        for line in file:
            try:
                sample = decode(line)
                verdict = judge_sample(sample, score.patterns)
                if verdict != FAULT and repeats_a_name(line, sample):
                    verdict = score.fault_after_all(each.role for each in getattr(sample, "messages", ()))
            except (msgspec.DecodeError, UnicodeDecodeError):
                if not line.strip():
                    continue
                try:
                    untyped = msgspec.json.decode(line)
                    verdict = judge_untyped(untyped, score.patterns)
                    if verdict != FAULT and repeats_a_name_untyped(line, untyped):
                        verdict = score.fault_after_all(each["role"] for each in untyped.get("messages", ()))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    verdict = FAULT
            score.samples += 1
            if verdict:
                score.add(verdict)
    return score.result()
