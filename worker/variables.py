"""Environment variables: one text into one value, and the ones that are none of ours."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from contracts.spelling import nearest

PREFIX = "WORKER_"

#: What Kubernetes puts into every container for a Service named ``worker`` or ``worker-something``.
_KUBERNETES = re.compile(
    r"WORKER_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class Unknown(NamedTuple):
    """A variable that looks like a setting and is none, and the one that was probably meant."""

    variable: str
    meant: str | None

    @property
    def text(self) -> str:
        """Return what is wrong with it."""
        return f"{self.variable} is not a setting and changes nothing"

    @property
    def remedy(self) -> str:
        """Return what to do about it."""
        return f"did you mean {self.meant}?" if self.meant else "the settings are in worker/settings.py"

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}"


def unknown_among(environment: Mapping[str, str], known: Iterable[str]) -> list[Unknown]:
    """Return the ``WORKER_`` variables that are not known, without those that Kubernetes injects. Pure."""
    names = set(known)
    strangers = [
        name
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in names and not _KUBERNETES.fullmatch(name)
    ]
    return [Unknown(name, nearest(name, names)) for name in strangers]


def value_of(text: str, kind: Any) -> Any:
    """Return the value a text means, for a type as msgspec has it; of several words upper and lower case are alike.

    Raises:
        ValueError: it means none; the text says what would, and never quotes the value, which may be a secret.
    """
    info = inspect.type_info(kind)
    try:
        value = msgspec.convert(
            text.lower() if isinstance(info, inspect.LiteralType) else text,
            kind,
            strict=False,
            dec_hook=lambda wanted, given: wanted(given),
        )
    except msgspec.ValidationError as error:
        raise ValueError(f"must be {_expected(info)}") from error
    # No bound refuses NaN: every comparison with it is false.
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"must be {_expected(info)}")
    return value


def expected(kind: Any) -> str:
    """Return in words what a variable of this type must be. Pure."""
    return _expected(inspect.type_info(kind))


def _expected(info: inspect.Type) -> str:
    if isinstance(info, inspect.UnionType):
        return _expected(next(each for each in info.types if not isinstance(each, inspect.NoneType)))
    if isinstance(info, inspect.Metadata):
        return str((info.extra_json_schema or {}).get("description", "text"))
    if isinstance(info, inspect.LiteralType):
        return f"one of {', '.join(map(str, info.values))}"
    if not isinstance(info, inspect.IntType | inspect.FloatType):
        return "text"
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("above", info.gt), ("at least", info.ge), ("below", info.lt), ("at most", info.le))
        if bound is not None
    ]
    what = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    return " and ".join([f"{what}, {bounds[0]}", *bounds[1:]]) if bounds else what
