"""The model card: README.md with the front matter model hubs read."""

import json
from typing import Any

from contracts.model import Kept
from contracts.training import Output
from handlers import layout
from handlers.manifests import base_name
from handlers.planning.plan import Plan


def model_card(model_id: str, plan: Plan, output: Output, kept: Kept) -> str:
    """Return a model's card as Markdown. Deterministic: no time, no machine."""
    data = "\n".join(
        f"- `{dataset.dataset_id}`: {dataset.samples} samples, files "
        + ", ".join(f"sha256 `{file.sha256}`" for file in dataset.files)
        for dataset in plan.training
    )
    settings = "\n".join(f"| {name} | {value} |" for name, value in sorted(plan.hyperparameters.items()))
    return f"""---
{_front_matter(plan, output)}
---

# {model_id}

{plan.training_type} ({plan.method}) of `{base_name(plan)}`{_foundation(plan)}, kept at step {output.step}
with a training loss of {output.loss}{_validation(output)}: {_why(kept)}.

## How to load it

{_loading(plan, output)}
{_gguf(output)}
## Training data

{data}

## Hyperparameters

| name | value |
|---|---|
{settings}

Every file's SHA-256 and the whole lineage are in `manifest.json`.
"""


def _front_matter(plan: Plan, output: Output) -> str:
    embeds = plan.format == "ranking"
    fields: dict[str, Any] = {
        "library_name": "sentence-transformers" if embeds else "peft" if output.kind == "adapter" else "transformers",
        "pipeline_tag": "sentence-similarity" if embeds else "text-generation",
        "base_model": layout.exported_model(plan.base_prefix) or plan.base_model,
        "base_model_relation": "adapter" if output.kind == "adapter" else "finetune",
        "tags": ["fine-tuned", plan.training_type],
    }
    # JSON is YAML too, whatever characters a name has.
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())


def _loading(plan: Plan, output: Output) -> str:
    """Return how the libraries that the front matter names load the model, in Python."""
    if plan.format == "ranking":
        code = """from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".")  # the folder of this file
vectors = model.encode(["a text"])"""
    elif output.kind == "adapter":
        code = f"""from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("BASE")  # the folder of {base_name(plan)}
model = PeftModel.from_pretrained(base, ".")  # the folder of this file
tokenizer = AutoTokenizer.from_pretrained(".")"""
    else:
        code = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".")  # the folder of this file
tokenizer = AutoTokenizer.from_pretrained(".")"""
    return f"```python\n{code}\n```"


def _gguf(output: Output) -> str:
    gguf = output.gguf
    if gguf is None:
        return ""
    if gguf.status == "made":
        return f"\nAs one file, for llama.cpp, with its matrices in {gguf.type}: `llama-cli -m {gguf.path}`.\n"
    # A converter's own words: in Markdown they stay words.
    words = " ".join(f"{gguf.message}".replace("`", "'").split())
    return f"\nThere is no GGUF file (`{gguf.reason}`): `{words}`.\n"


def _foundation(plan: Plan) -> str:
    exported = layout.exported_model(plan.base_prefix)
    return f", a fine-tuned `{plan.base_model}` version `{plan.base_version}`" if exported else ""


def _validation(output: Output) -> str:
    return "" if output.validation_loss is None else f" and a validation loss of {output.validation_loss}"


def _why(kept: Kept) -> str:
    if len(kept.steps) == 1:
        return f"the {'best' if kept.by == 'validation-loss' else 'last'} checkpoint, the only one kept"
    of = f"of {len(kept.steps)} kept"
    place = f"the best {of}" if kept.rank == 1 else f"number {kept.rank} {of}"
    if kept.by == "last":
        place = f"the last {of}" if kept.rank == 1 else f"the last but {kept.rank - 1} {of}"
    apart = "" if kept.distance is None else f", {kept.distance} steps from the next"
    return f"{place}{' by validation loss' if kept.by == 'validation-loss' else ''}{apart}"
