"""A few samples of every format, each unlike the others: what is trained on where only correctness matters."""

from typing import Any

#: Six of them, none like another, with Chinese text, a weight and two turns.
SAMPLES: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "下一句是?"}, {"role": "assistant", "content": "多少关心事。"}]},
    {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hello! How are you?"}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1 + 2?"},
            {"role": "assistant", "content": "three", "loss_weight": 0.5},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "not this", "loss_weight": 0.0},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "but this"},
        ]
    },
    {"messages": [{"role": "user", "content": "river"}, {"role": "assistant", "content": "It runs to the sea."}]},
    {"messages": [{"role": "user", "content": "capital?"}, {"role": "assistant", "content": "Paris"}]},
]

TEXTS = [
    {"text": "The quick brown fox jumps over the lazy dog."},
    {"text": "床前明月光,疑是地上霜。"},
    {"text": "A week has seven days, and a year has about fifty-two weeks. " * 40},
    {"text": "river"},
    {"text": "To train a model is to show it examples, to measure its loss, and to change its weights a little."},
    {"text": "Please restart the router, wait for one minute, and try to connect again."},
]

PREFERENCES: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": "下一句是?"},
            {
                "role": "assistant",
                "content": [
                    {"text": "我不知道", "score": 0.0},
                    {"text": "多少关心事。", "score": 1.0, "lm_loss_mask": 1},
                    {"text": "请稍等", "score": 0.25},
                ],
            },
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "", "chosen": "Hello! How can I help?", "rejected": "no"},
        ]
    },
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1 + 2?"},
            {"role": "assistant", "content": [{"text": "three", "score": 0.9}, {"text": "a long story", "score": 0.1}]},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "capital of France?"},
            {
                "role": "assistant",
                "content": [
                    {"text": "Paris", "score": 1},
                    {"text": "the capital is Paris", "score": 1, "lm_loss_mask": 0},
                    {"text": "a week", "score": 0},
                    {"text": "the sea", "score": 0},
                ],
            },
        ]
    },
    {"messages": [{"role": "user", "content": "sea?"}, {"role": "assistant", "chosen": "river", "rejected": "router"}]},
    {"messages": [{"role": "user", "content": "fox?"}, {"role": "assistant", "chosen": "quick", "rejected": "lazy"}]},
]

RANKINGS: list[dict[str, Any]] = [
    {"query": "capital of France", "docs": [{"text": "a week", "label": 0}, {"text": "Paris", "label": 1}]},
    {"query": "the fox", "docs": [{"text": "jumps over the dog", "label": True}]},
    {
        "query": "下一句",
        "docs": [
            {"text": "疑是地上霜", "label": 1},
            {"text": "restart the router", "label": 0},
            {"text": "请稍等", "label": False},
        ],
    },
    {"query": "days of a week", "docs": [{"text": "seven", "label": 1}, {"text": "fifty-two", "label": 0}]},
    {"query": "where rivers run", "docs": [{"text": "to the sea", "label": 1}]},
    {"query": "parcel", "docs": [{"text": "three working days", "label": 1}, {"text": "the sun", "label": 0}]},
]

BY_FORMAT: dict[str, list[dict[str, Any]]] = {
    "sft": SAMPLES,
    "pretrain": TEXTS,
    "preference": PREFERENCES,
    "ranking": RANKINGS,
}
