"""The tokenizer of the base model ``tiny``: a byte-level BPE trained on the spot on a built-in text. Deterministic."""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from worker.tokens.files import TokenizerFiles

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, START, END)
VOCABULARY = 1024
CONTEXT_LENGTH = 512

#: ChatML, with the system message that a conversation without one begins with.
CHAT_TEMPLATE = """\
{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{%- endif %}
"""

TEXT = """\
The quick brown fox jumps over the lazy dog while the sun sets behind the hills and the river runs to the sea.
A helpful assistant answers the question of a user, in a few words, and says so when it does not know the answer.
Question: what is the capital of France? Answer: the capital of France is Paris, on the river Seine.
Question: how many days has a week? Answer: a week has seven days, and a year has about fifty-two weeks.
To train a model is to show it examples, to measure its loss, and to change its weights a little, step by step.
When the order has been shipped, we send an e-mail with a link; the parcel arrives within three working days.
Please restart the router, wait for one minute, and try to connect again; if that does not help, call support.
{"role": "user", "content": "hello"} {"role": "assistant", "content": "Hello! How can I help you today?"}
床前明月光,疑是地上霜。举头望明月,低头思故乡。 白日依山尽,黄河入海流。欲穷千里目,更上一层楼。
春眠不觉晓,处处闻啼鸟。夜来风雨声,花落知多少。 你好!请问有什么可以帮助您的吗? 我不知道,请稍等。
"""


def tiny_tokenizer() -> TokenizerFiles:
    """Return the tokenizer, its configuration and the chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    return TokenizerFiles(
        tokenizer=tokenizer.to_str(pretty=True).encode(),
        config=tokenizer_config(CONTEXT_LENGTH),
        chat_template=CHAT_TEMPLATE.encode(),
    )


def tokenizer_config(context_length: int) -> bytes:
    """Return ``tokenizer_config.json`` for a ChatML model whose ``tokenizer.json`` is to be taken as it is."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
    }
    return json.dumps(config, indent=2).encode()
