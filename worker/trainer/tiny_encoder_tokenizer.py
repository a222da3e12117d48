"""The tokenizer of the base model ``tiny-encoder``: that of ``tiny``'s text, with a token before and behind."""

import json

from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from worker.tokens.files import TokenizerFiles
from worker.trainer.tiny_tokenizer import TEXT

_PAD, _BEGIN, _END, _UNKNOWN = "[PAD]", "[CLS]", "[SEP]", "[UNK]"
PAD = 0
VOCABULARY = 1024
CONTEXT_LENGTH = 256


def tiny_encoder_tokenizer() -> TokenizerFiles:
    """Return the tokenizer and its configuration. Deterministic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[_PAD, _BEGIN, _END, _UNKNOWN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BEGIN} $A {_END}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (_BEGIN, _END)],
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": _PAD,
        "cls_token": _BEGIN,
        "sep_token": _END,
        "unk_token": _UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT_LENGTH,
    }
    return TokenizerFiles(tokenizer.to_str(pretty=True).encode(), json.dumps(config, indent=2).encode())
