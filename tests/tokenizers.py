"""Tokenizers of every kind, trained on the spot on a text of the tests' own, and a chat template for all of them."""

import json
import tempfile
from functools import cache
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from worker.tokens.files import TokenizerFiles
from worker.trainer.tiny_tokenizer import TEXT

CONTROL = ("<|im_start|>", "<|im_end|>")
CORPUS = TEXT + (
    "def f(x):\n    return {'a': [1, 2]}\n<tool_call> get_weather city temperature </tool_call> system user assistant\n"
    "The tool said it is sunny in 北京, 23 degrees. Let me think: first this, then that. 先想一想,再回答。\n"
)

#: ChatML with tools, calls and reasoning; stable: what comes later changes nothing before it.
TEMPLATE = """\
{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n' + (tools | tojson) + '<|im_end|>\\n' }}{% endif %}
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' %}{% generation %}
{%- if m.reasoning_content %}{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}
{{- m.content }}
{%- for call in m.tool_calls or [] %}
{{- '\\n<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
{%- else %}{{ m.content + '<|im_end|>\\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def files_of(tokenizer: Tokenizer, template: str = TEMPLATE) -> TokenizerFiles:
    """Return a tokenizer's files, with ``</s>`` or else ``<|im_end|>`` as the end of a text."""
    end = "</s>" if tokenizer.token_to_id("</s>") is not None else "<|im_end|>"
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "clean_up_tokenization_spaces": False}
    return TokenizerFiles(tokenizer.to_str().encode(), json.dumps(config).encode(), template.encode())


@cache
def qwen_like() -> TokenizerFiles:
    """Return a byte-level BPE behind NFC and a splitting pattern, as Qwen's is."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    pattern = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|endoftext|>", *CONTROL],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS.splitlines(), trainer)
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("<think>", normalized=False)])
    return files_of(tokenizer)


@cache
def unigram() -> TokenizerFiles:
    """Return a Unigram with Metaspace, NFKC, byte fallback and a beginning-of-text token, as from SentencePiece."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    known = [line.split("床")[0] for line in CORPUS.splitlines()]
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(known, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = [(piece, score) for piece, score in learnt if piece not in {"<unk>", "\n"}]
    spelt = [(f"<0x{number:02X}>", 0.0) for number in range(256)]
    head = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    tokenizer.model = models.Unigram([*head, *spelt, *pieces], unk_id=0, byte_fallback=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return files_of(_with_control(tokenizer))


@cache
def sentencepiece_model(kind: str) -> bytes:
    """Train a SentencePiece model, ``unigram`` or ``bpe``, with byte fallback, and return it."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "corpus.txt")
        text.write_text(CORPUS)
        sentencepiece.SentencePieceTrainer.train(
            input=str(text),
            model_prefix=str(Path(folder, "model")),
            vocab_size=600 if kind == "bpe" else 480,
            model_type=kind,
            byte_fallback=True,
            character_coverage=0.98,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=2,
        )
        return Path(folder, "model.model").read_bytes()


@cache
def converted(kind: str) -> TokenizerFiles:
    """Return a SentencePiece model as a tokenizer.json, as transformers converts those of Llama 2 and T5."""
    source = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(kind))
    pieces = [(source.id_to_piece(number), source.get_score(number)) for number in range(source.get_piece_size())]
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram(pieces, unk_id=source.unk_id(), byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        numbers = {piece: number for number, (piece, _) in enumerate(pieces)}
        merges = [
            (left, right)
            for piece, _ in pieces
            for left, right in ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
            if left in numbers and right in numbers
        ]
        merges.sort(key=lambda pair: numbers["".join(pair)])
        tokenizer = Tokenizer(models.BPE(numbers, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return files_of(_with_control(tokenizer))


def _with_control(tokenizer: Tokenizer) -> Tokenizer:
    special = [AddedToken(token, special=True, normalized=False) for token in ("<unk>", "<s>", "</s>", *CONTROL)]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer
