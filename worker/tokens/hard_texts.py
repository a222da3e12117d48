"""Texts that tokenizers disagree on, if they do: every fast tokenizer is tried on them before it is trusted."""

_PIECES = (
    "The quick brown fox jumps over the lazy dog.",
    "孤灯照不寐,风雨满西林。下一句是?",
    "床前明月光,疑是地上霜。举头望明月,低头思故乡。" * 20,
    "混排 mixed 文本 with English,全角ＡＢＣ１２３ and half-width 123。",
    "日本語のテキスト、한국어 텍스트, русский текст, ελληνικά, עברית, العربية, हिन्दी, ไทย",
    "🙂 👍🏽 👨‍👩‍👧‍👦 🇨🇳 ❤️ ☕️ 𝒳𝒴𝒵 𠮷野家",
    "café cafe\u0301 naïve Å A\u030a ﬁ ﬀ ① ㎏ ½ Ⅷ ß İ ǅ",
    "zero\u200bwidth\u200d \ufeff \u00a0 \u3000 \u2028 \u2029 \x00 \x07 \x7f \x85 \ue000 \U0010ffff \U0006c903",
    "   leading, trailing   ",
    "  two   three    four     five\t\ttabs\t \t mixed",
    "\n\n\nlines\r\n\r\nof \n \n white\n\n   \n\tspace \n",
    " " * 300 + "x" + "\n" * 100 + "\t" * 50,
    "a" * 500 + "!" * 200 + "-" * 80 + "=" * 81,
    "don't I'LL we've SHE'D it’s 'quoted' ''double''",
    "0 12 345 6789 1,234,567.89 -3.14e-10 0x1F 2024-07-26 ٣٤٥ ५६",
    "def f(x: int) -> int:\n    if x > 0:\n\t\treturn x ** 2  # comment\n    return {'a': [1, 2]}\n",
    "SELECT * FROM t WHERE a <= 10 AND b != 'x';\r\n<div class=\"a\">&nbsp;</div>\n$$\\frac{1}{2}$$ `code` ```py\n```",
    '{"name": "get_weather", "arguments": {"city": "北京", "unit": "celsius", "days": [1, 2, 3]}}',
    '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call><tool_response>{"ok": true}</tool_response>',
    "<think>\nFirst, 1 + 1 = 2.\n</think>\n\nThe answer is 2.",
    "https://example.org/a_b-c?d=%20e&f=1#g user@example.org C:\\path\\to ../x ~/.config",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_end|><|endoftext|><s></s><unk><pad>[INST] x [/INST]<|eot_id|><|start_header_id|>",
    " <|im_end|> <| im_end |> <|im_END|> <|im_end<|im_end|>|> <|im_",
    "▁ ▁▁ Ġ Ċ <0x0A> <0xE5> _ __ ⁇ \ufffd",
    "supercalifragilisticexpialidocious antidisestablishmentarianism Donaudampfschifffahrtsgesellschaft",
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ== " * 10,
    "。,、;:?!「」『』()《》——……·",
    "",
    " ",
    "\n",
    "好",
    "🙂",
)


def hard_texts(added: list[str]) -> list[str]:
    """Return the texts: each alone, all of them joined, and each added token of the tokenizer between some of them."""
    joined = ["".join(_PIECES), " ".join(_PIECES), "\n".join(reversed(_PIECES))]
    control = [f"{left}{token}{right}" for token in added for left, right in (("", ""), ("问题", "答 "), (" x ", "\n"))]
    return [*_PIECES, *joined, *control]
