"""The files that decide how a model reads text."""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

#: Part of every digest: raised when the rules in this package change, so that older counts are not taken for new ones.
RULES = b"4"

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"


class TokenizerFiles(NamedTuple):
    """The bytes of a tokenizer. ``chat_template`` wins over the one in ``config``."""

    tokenizer: bytes
    config: bytes
    chat_template: bytes | None = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of tokenizer, configuration, template and our rules. Needs no tokenizer built."""
        whole = sha256(RULES)
        for part in (self.tokenizer, self.config, self.chat_template or b""):
            whole.update(len(part).to_bytes(8, "big"))
            whole.update(part)
        return whole.hexdigest()


def read_folder(folder: Path) -> TokenizerFiles:
    """Return the tokenizer files of a model's folder. Raises FileNotFoundError where there is no tokenizer."""
    config, template = folder / CONFIG_FILE, folder / TEMPLATE_FILE
    return TokenizerFiles(
        tokenizer=(folder / TOKENIZER_FILE).read_bytes(),
        config=config.read_bytes() if config.exists() else b"{}",
        chat_template=template.read_bytes() if template.exists() else None,
    )
