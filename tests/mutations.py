"""Objects that nobody would write, and good ones with something changed: whatever may arrive in a dataset."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

#: Where a seed leads to, what happens there, and a value for it.
Step = tuple[int, str, Any]


def values(words: Sequence[str]) -> st.SearchStrategy[Any]:
    """Draw what JSON can hold; ``words`` are the names and texts that mean something."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.just(10**400)
        | st.floats(allow_nan=False)
        | st.sampled_from(words)
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(words), inner, max_size=4),
        max_leaves=12,
    )


def mutations(words: Sequence[str]) -> st.SearchStrategy[list[Step]]:
    """Draw changes of a sample for :func:`mutated`."""
    step = st.tuples(st.integers(0, 3**8), st.sampled_from(["set", "drop", "double"]), values(words))
    return st.lists(step, min_size=1, max_size=4)


def mutated(value: Any, steps: list[Step]) -> Any:
    """Change a sample at places that a seed leads to."""
    value = json.loads(json.dumps(value))
    for seed, action, new in steps:
        place: Any = value
        while isinstance(place, dict | list) and place:
            key = sorted(place)[seed % len(place)] if isinstance(place, dict) else seed % len(place)
            child = place[key]
            if seed % 3 == 0 or not isinstance(child, dict | list) or not child:
                if action == "drop":
                    del place[key]
                elif action == "double" and isinstance(place, list):
                    place.insert(key, child)
                else:
                    place[key] = new
                break
            place = child
            seed //= 3  # noqa: PLW2901 - the rest of the seed leads on from here
    return value
