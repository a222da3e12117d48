"""Selections of any shape, with the lines they are about."""

from typing import Any

from hypothesis import strategies as st

from contracts.task import PresetMix
from handlers.planning.sample_rows import State
from handlers.planning.selection import Selection
from tests.fakes.samples import Line, source

#: Of each source its files, and their lines.
Files = list[list[list[Line]]]

lines = st.lists(
    st.builds(
        Line,
        content=st.integers(0, 12),
        tokens=st.integers(1, 50),
        extremes=st.integers(0, 3),
        state=st.sampled_from([State.KEPT, State.KEPT, State.KEPT, State.TOO_LONG, State.INVALID]),
    ),
    max_size=12,
)
a_file = st.lists(lines, min_size=1, max_size=2)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Selection, Files]:
    """Return a selection with up to two datasets of each kind, and their lines."""
    split = draw(st.booleans())
    kinds = ["validation"] * (0 if split else draw(st.integers(0, 2))) + ["user"] * draw(st.integers(1, 2))
    mix = draw(st.none() | st.builds(PresetMix, st.integers(1, 60), st.sampled_from(["fail", "repeat"])))
    kinds += ["preset"] * (draw(st.integers(1, 2)) if mix else 0)
    how: st.SearchStrategy[dict[str, Any]] = st.one_of(
        st.builds(dict),
        st.builds(dict, multiplier=st.sampled_from([0.3, 0.5, 1.0, 1.5, 3.0])),
        st.builds(dict, sample_count=st.integers(1, 30)),
    )
    selection = Selection(
        sources=tuple(source(f"d{n}", kind, **(draw(how) if kind == "user" else {})) for n, kind in enumerate(kinds)),
        seed=draw(st.integers(0, 5)),
        split_seed=draw(st.integers(0, 5)),
        validation_percent=draw(st.integers(1, 50)) if split else None,
        preset_mix=mix,
    )
    return selection, [draw(a_file) for _ in kinds]
