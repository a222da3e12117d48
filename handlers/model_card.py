"""The model card: README.md with the front matter model hubs read."""

from contracts.training import Output
from handlers.planning.plan import Plan


def model_card(model_id: str, plan: Plan, output: Output) -> str:
    """Return a model's card as Markdown. Deterministic: no time, no machine."""
    data = "\n".join(
        f"- `{dataset.dataset_id}`: {dataset.samples} samples, files "
        + ", ".join(f"sha256 `{file.sha256}`" for file in dataset.files)
        for dataset in plan.training
    )
    settings = "\n".join(f"| {name} | {value} |" for name, value in sorted(plan.hyperparameters.items()))
    embeds = plan.format == "ranking"
    library = "sentence-transformers" if embeds else "peft" if output.kind == "adapter" else "transformers"
    task = "sentence-similarity" if embeds else "text-generation"
    return f"""---
library_name: {library}
pipeline_tag: {task}
base_model: {plan.base_model}
tags: [fine-tuned, {plan.training_type}]
---

# {model_id}

{plan.training_type} ({plan.method}) of `{plan.base_model}` version `{plan.base_version}`, kept at step {output.step}
with a training loss of {output.loss}{_validation(output)}.

## Training data

{data}

## Hyperparameters

| name | value |
|---|---|
{settings}

Every file's SHA-256 and the whole lineage are in `manifest.json`.
"""


def _validation(output: Output) -> str:
    return "" if output.validation_loss is None else f" and a validation loss of {output.validation_loss}"
