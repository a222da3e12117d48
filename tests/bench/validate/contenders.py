"""Who takes part, and what each leaves out of the checks that ours makes."""

import importlib.util
from collections.abc import Iterable
from typing import NamedTuple

_HERE = "tests.bench.validate"
_EQUAL = "nothing; names no place in the line"


class Contender(NamedTuple):
    """``function`` is ``module:name`` of a ``check(path, format) -> Result``; ``package`` is what it must import."""

    function: str
    package: str
    leaves_out: str


CONTENDERS: dict[str, Contender] = {
    "ours": Contender(f"{_HERE}.ours:check", "handlers", "nothing; every fault with its line and place"),
    "orjson": Contender(f"{_HERE}.orjson_lines:check", "orjson", _EQUAL),
    "orjson-but-names": Contender(f"{_HERE}.orjson_lines:check_but_names", "orjson", "does not see a name given twice"),
    "msgspec": Contender(f"{_HERE}.msgspec_lines:check", "msgspec", _EQUAL),
    "stdlib": Contender(f"{_HERE}.stdlib_lines:check", "json", _EQUAL),
    "pydantic": Contender(f"{_HERE}.pydantic_lines:check", "pydantic", _EQUAL),
    "polars": Contender(
        f"{_HERE}.polars_frame:check",
        "polars",
        "repeated and unknown names, a number for a text; names no line; grows with the file",
    ),
    "datasets": Contender(
        f"{_HERE}.huggingface:check", "datasets", "repeated names, which line has an unknown one; names no line"
    ),
    "datasets-typed": Contender(
        f"{_HERE}.huggingface:check_declared",
        "datasets",
        "repeated names, a number for a text; an unknown name ends it; its types are declared",
    ),
}


def missing_packages(names: Iterable[str]) -> list[str]:
    """Return the packages that these contenders import and that are not installed."""
    packages = {CONTENDERS[name].package for name in names}
    return sorted(package for package in packages if importlib.util.find_spec(package) is None)
