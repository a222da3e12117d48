"""Samples of every format, and the plans that train on them."""

from typing import Any

from handlers.planning.build import FORMATS
from handlers.planning.plan import Plan
from handlers.pricing import method_of
from tests.trainer.bench import SAMPLES, Bench

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

#: What trains these few samples in few steps, each a little different.
HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "FinetuneSft": {},
    "FinetuneLoRA": {"lora_dropout": 0.2},
    "Pretrain": {"batch_size": 1},
    "DPO": {"pairs": "all", "learning_rate": 1e-4},
    "DPOLoRA": {"lora_dropout": 0.2},
    "Embedding": {"learning_rate": 1e-3},
}


def plan_for(bench: Bench, training_type: str, **fields: Any) -> Plan:
    """Return a plan of a training type, on six samples of its format unless ``training`` says otherwise."""
    model = fields.pop("model", "tiny-encoder" if training_type == "Embedding" else "tiny")
    chosen = HYPERPARAMETERS[training_type] | fields.pop("hyperparameters", {})
    if "training" not in fields:
        fields["training"] = (bench.dataset(samples=BY_FORMAT[FORMATS[training_type]]),)
    return bench.plan(
        method_of(training_type),
        training_type=training_type,
        format=FORMATS[training_type],
        base_model=model,
        base_prefix=f"base-models/{model}/1/",
        context_length=fields.pop("context_length", 256 if training_type == "Embedding" else 512),
        hyperparameters=chosen,
        **fields,
    )
