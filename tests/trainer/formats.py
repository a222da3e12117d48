"""Samples of every format, and the plans that train on them."""

from typing import Any

from handlers.planning.build import FORMATS
from handlers.planning.plan import Plan
from handlers.pricing import method_of
from tests.fakes.few_samples import BY_FORMAT
from tests.trainer.bench import Bench

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
