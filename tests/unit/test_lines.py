"""Bytes to lines: each in one piece, one byte at a time, and cut anywhere."""

import pytest

from handlers.validation.lines import MAX_LINE_BYTES, Block, BlockCutter, Line, LineSplitter, lines_of

MARK = b"\xef\xbb\xbf"


def split(*chunks: bytes, bound: int = 10) -> tuple[list[Line], bool]:
    splitter = LineSplitter(bound)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + list(splitter.finish()), splitter.byte_order_mark


def every_cut(body: bytes, bound: int = 10) -> list[Line]:
    """Split a body whole, byte by byte and in any two pieces: all must agree."""
    whole = split(body, bound=bound)
    cuts = [[body[:at], body[at:]] for at in range(len(body) + 1)] + [[bytes([byte]) for byte in body]]
    cuts.append([b"", *cuts[-1], b""])
    assert all(split(*cut, bound=bound) == whole for cut in cuts)
    return whole[0]


def test_lines_end_with_lf_and_the_last_one_need_not() -> None:
    assert every_cut(b"a\n\nbc") == [Line(1, b"a", 1), Line(2, b"", 0), Line(3, b"bc", 2)]
    assert every_cut(b"a\n") == [Line(1, b"a", 1)]
    assert every_cut(b"") == []


def test_a_cr_belongs_to_the_ending_where_an_lf_follows() -> None:
    assert every_cut(b"a\r\n\r\n") == [Line(1, b"a", 1, crlf=True), Line(2, b"", 0, crlf=True)]
    assert every_cut(b"a\rb\n\rc\n") == [Line(1, b"a\rb", 3), Line(2, b"\rc", 2)]
    assert every_cut(b"a\r") == [Line(1, b"a\r", 2)]
    assert every_cut(b"a\r\nb") == [Line(1, b"a", 1, crlf=True), Line(2, b"b", 1)]


@pytest.mark.parametrize("length", range(7, 14))
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b""])
def test_the_bound_is_exact_and_the_length_of_what_is_longer_is_known(length: int, ending: bytes) -> None:
    body = b"x" * length
    first, *others = every_cut(body + ending + (b"y" if ending else b""))
    assert first == Line(1, body if length <= 10 else None, length, crlf=ending == b"\r\n")
    assert others == ([Line(2, b"y", 1)] if ending else [])


def test_a_cr_at_the_end_of_the_file_counts_as_a_byte_of_the_line() -> None:
    assert every_cut(b"x" * 9 + b"\r") == [Line(1, b"x" * 9 + b"\r", 10)]
    assert every_cut(b"x" * 10 + b"\r") == [Line(1, None, 11)]


def test_a_cr_inside_a_line_that_is_too_long_is_no_ending() -> None:
    assert every_cut(b"x" * 12 + b"\r" + b"y\n") == [Line(1, None, 14)]


def test_a_byte_order_mark_is_dropped_at_the_start_alone() -> None:
    assert every_cut(MARK + b"a\n" + MARK + b"b") == [Line(1, b"a", 1), Line(2, MARK + b"b", 4)]
    assert every_cut(MARK) == []
    assert split(MARK + b"a")[1]
    assert split(MARK[:1], MARK[1:])[1]
    assert not split(b"a" + MARK)[1]
    assert not split(b"\xef\xbb")[1]
    assert not split()[1]
    assert not LineSplitter().byte_order_mark


@pytest.mark.parametrize("body", [MARK[:1], MARK[:2], MARK[:1] + b"x", MARK[:2] + b"x", b"\xbb\xbf", b"\xbf", b"ab"])
def test_what_only_begins_like_a_mark_is_kept(body: bytes) -> None:
    assert every_cut(body) == [Line(1, body, len(body))]
    assert every_cut(body + b"\nb") == [Line(1, body, len(body)), Line(2, b"b", 1)]


def test_a_line_is_said_as_soon_as_it_ends() -> None:
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"a\nb")) == [Line(1, b"a", 1)]
    assert list(splitter.feed(b"\n\xef")) == [Line(2, b"b", 1)]
    assert list(splitter.feed(b"x\n")) == [Line(3, b"\xefx", 2)]


def test_a_mark_cannot_be_told_before_it_is_whole_and_anything_else_can() -> None:
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"\n")) == [Line(1, b"", 0)]
    held = LineSplitter(10)
    assert list(held.feed(MARK[:2])) == []
    assert list(held.feed(b"\n")) == [Line(1, MARK[:2], 2)]


def test_lines_of_16_mib_are_read_where_nothing_else_is_said() -> None:
    assert MAX_LINE_BYTES == 16 * 1024 * 1024
    splitter = LineSplitter()
    piece = b"x" * (1 << 20)
    for _ in range(16):
        assert list(splitter.feed(piece)) == []
    assert [(line.size, line.body is None) for line in splitter.feed(b"\n")] == [(16 << 20, False)]
    lines = [line for chunk in [*[piece] * 16, b"y\n"] for line in splitter.feed(chunk)]
    assert [(line.size, line.body is None) for line in lines] == [((16 << 20) + 1, True)]


def test_of_a_line_that_is_too_long_nothing_is_held() -> None:
    """What was held of it must not become part of the next line either."""
    splitter = LineSplitter(4)
    assert [list(splitter.feed(chunk)) for chunk in (b"xxx", b"xxx", b"xxx", b"\nyy", b"y")] == [
        [], [], [], [Line(1, None, 9)], [],
    ]  # fmt: skip
    assert list(splitter.feed(b"\r\n")) == [Line(2, b"yyy", 3, crlf=True)]
    assert list(splitter.finish()) == []


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 5, 8, 100])
def test_blocks_are_whole_lines_of_about_so_many_bytes(block_bytes: int) -> None:
    body = b"a\nbb\r\n\nccccccc\n" + b"dd\n" * 4 + b"ee"
    for at in range(len(body) + 1):
        cutter, number, lines = BlockCutter(6, block_bytes=block_bytes), 1, list[Line]()
        for block in [*cutter.feed(body[:at]), *cutter.feed(body[at:]), *cutter.finish()]:
            if isinstance(block, Block):
                assert len(block.body) < block_bytes or b"\n" not in block.body
            lines += lines_of(block, number, 6)
            number = lines[-1].number + 1
        assert lines == every_cut(body, bound=6)
    whole = list(BlockCutter(6, block_bytes=8).feed(b"dd\n" * 8))
    assert [block.body for block in whole if isinstance(block, Block)] == [b"dd\ndd"] * 4
    assert all(isinstance(block, Block) and block.ended for block in whole)


def test_a_block_keeps_its_lines_and_says_whether_the_last_one_ended() -> None:
    assert Block(b"a\n\nb").lines == [b"a", b"", b"b"]
    assert list(lines_of(Block(b"a\r\nb\r"), 7)) == [Line(7, b"a", 1, crlf=True), Line(8, b"b", 1, crlf=True)]
    assert list(lines_of(Block(b"a\r\nb\r", ended=False), 7)) == [Line(7, b"a", 1, crlf=True), Line(8, b"b\r", 2)]
