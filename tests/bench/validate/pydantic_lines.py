"""pydantic models, strict, a line at a time: types and ranges in Rust, the rest by hand."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from tests.bench.validate.checks import FAULT, READ_BYTES, Score, judge
from tests.bench.validate.names import repeats, repeats_typed
from tests.bench.validate.result import Format, Result
from tests.bench.validate.typed import judge_typed

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Message(Strict):
    role: Literal["system", "user", "assistant", "tool"]
    content: Text
    loss_weight: Annotated[float, Field(ge=0, le=1)] | None = None
    reasoning_content: str | None = None
    name: str | None = None


class Sft(Strict):
    messages: Annotated[list[Message], Field(min_length=1)]
    thinking: str | bool | dict[str, Any] | None = None


class Pretrain(Strict):
    text: Text


def check(path: str, format: Format) -> Result:
    score, judge_sample, judge_untyped = Score(), judge_typed(format), judge(format)
    repeats_a_name, repeats_a_name_untyped = repeats_typed(format), repeats(format)
    model: type[Strict] = Sft if format == "sft" else Pretrain
    validate = model.model_validate_json
    with Path(path).open("rb", buffering=READ_BYTES) as file:
        for line in file:
            try:
                sample = validate(line)
                verdict = judge_sample(sample, score.patterns)
                if verdict != FAULT and repeats_a_name(line, sample):
                    verdict = score.fault_after_all(each.role for each in getattr(sample, "messages", ()))
            except ValidationError as error:
                if not line.strip():
                    continue
                # An unknown field alone is only warned about.
                only_unknown = all(each["type"] == "extra_forbidden" for each in error.errors(include_url=False))
                verdict = FAULT
                if only_unknown:
                    untyped = from_json(line)
                    verdict = judge_untyped(untyped, score.patterns)
                    if repeats_a_name_untyped(line, untyped):
                        verdict = score.fault_after_all(each["role"] for each in untyped.get("messages", ()))
            score.samples += 1
            if verdict:
                score.add(verdict)
    return score.result()
