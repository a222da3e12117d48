"""polars: the file as a lazy frame, streamed, and the checks as expressions.

It cannot do all: a field that the schema lacks is not seen, a number where a text belongs is taken as text, and one
line that is not JSON ends it all, without the line being named.
"""

from typing import Any

import polars as pl

from tests.bench.fresh import Cannot
from tests.bench.validate.checks import FAULT, FINE, SPECIAL_TOKEN, judge_order
from tests.bench.validate.result import Format, Result

_MESSAGE = pl.Struct({"role": pl.String, "content": pl.String, "loss_weight": pl.Float64})


def check(path: str, format: Format) -> Result:
    try:
        return _check_sft(path) if format == "sft" else _check_pretrain(path)
    except pl.exceptions.ComputeError as error:
        raise Cannot(f"one broken line ends it, unnamed: {error}") from error


def _check_sft(path: str) -> Result:
    lines = pl.scan_ndjson(path, schema={"messages": pl.List(_MESSAGE)})
    field = pl.element().struct.field
    role, content, weight = field("role"), field("content"), field("loss_weight")
    is_assistant = role == "assistant"
    out_of_range = pl.when(is_assistant).then(~weight.is_between(0, 1)).otherwise(weight != 0)
    at_fault = (
        _any(content.str.len_bytes().fill_null(0) == 0)
        | _any(out_of_range.fill_null(value=False))
        | ~_any(is_assistant & (weight.fill_null(1.0) > 0))
    )
    judged = lines.select(
        pattern=pl.col("messages").list.eval(role).list.join(","),
        at_fault=at_fault.fill_null(value=True),
        warned=_any(content.str.contains(SPECIAL_TOKEN.pattern)).fill_null(value=False),
    )
    patterns = judged.group_by("pattern").agg(
        times=pl.len(), valid=(~pl.col("at_fault")).sum(), warned=(pl.col("warned") & ~pl.col("at_fault")).sum()
    )
    return _summed(patterns.collect(engine="streaming").rows(named=True))


def _any(condition: pl.Expr) -> pl.Expr:
    return pl.col("messages").list.eval(condition).list.any()


def _summed(patterns: list[dict[str, Any]]) -> Result:
    samples = valid = warned = 0
    roles: dict[str, int] = {}
    for row in patterns:
        samples += row["times"]
        order = judge_order(tuple(row["pattern"].split(","))) if row["pattern"] else FAULT
        if order == FAULT:
            continue
        valid += row["valid"]
        warned += row["warned"] if order == FINE else row["valid"]
        for role in row["pattern"].split(","):
            roles[role] = roles.get(role, 0) + row["valid"]
    return Result(samples, valid, warned, dict(sorted(roles.items())))


def _check_pretrain(path: str) -> Result:
    text = pl.col("text")
    is_valid = text.str.len_bytes().fill_null(0) > 0
    counted = pl.scan_ndjson(path, schema={"text": pl.String}).select(
        samples=pl.len(), valid=is_valid.sum(), warned=(is_valid & text.str.contains(SPECIAL_TOKEN.pattern)).sum()
    )
    row = counted.collect(engine="streaming").row(0, named=True)
    return Result(row["samples"], row["valid"], row["warned"], {})
