"""Texts that every machine has: the standard library's sources, and Chinese characters drawn as language has them."""

import random
import sysconfig
from pathlib import Path


def english(characters: int) -> str:
    """Return English prose and code."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*/*.py"))
    parts = [path.read_text(encoding="utf-8", errors="replace") for path in paths if "packages" not in str(path)]
    whole = "".join(parts)
    assert len(whole) >= characters, f"there are {len(whole)} characters only"
    return whole[:characters]


def chinese(characters: int) -> str:
    """Return characters of the 3,500 most common blocks with frequencies by rank, and punctuation. No language."""
    draw = random.Random(1)  # noqa: S311 - test data
    block = [chr(code) for code in range(0x4E00, 0x9FA5)]
    draw.shuffle(block)
    chosen = draw.choices(block[:3500], [1 / rank for rank in range(1, 3501)], k=characters)
    return "".join(each + ",。"[number % 40 == 39] * (number % 13 == 12) for number, each in enumerate(chosen))


def pieces(text: str, size: int) -> list[str]:
    """Return a text cut into pieces, none of them twice the same place."""
    return [text[start : start + size] for start in range(0, len(text), size)]
