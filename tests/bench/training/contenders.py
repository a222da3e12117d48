"""One run each, in a process of its own. Returns tokens a second from the first step to the last, and what it took.

All train the same weights on the same tokens, in batches of the same size, padded to the longest of a batch, for as
many epochs, with AdamW and clipped gradients. What is loaded, tokenised and exported is in nobody's time; a step's loss
is logged by all.
"""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]  # exported lazily

from tests.bench.training.task import SIZES, Size, conversations, tokens_of, write_model
from tests.trainer.bench import Bench
from worker.settings import Settings
from worker.trainer.job import Ending

_LEARNING_RATE = 1e-3


class _Stopwatch(TrainerCallback):
    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self.began


def ours(name: str, epochs: int) -> dict[str, Any]:
    """Run a whole job of our trainer: fence, events, checkpoint and export as always."""
    size = SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), Settings().heartbeat_seconds)
        write_model(Path(folder) / "base-models" / "tiny" / "1", size)
        bench.state()
        dataset = bench.dataset("bench", conversations(size))
        chosen = {
            "epochs": epochs,
            "batch_size": size.batch_size,
            "learning_rate": _LEARNING_RATE,
            "checkpoint_steps": 1_000_000,
            "precision": size.precision,
        }
        bench.plan(hyperparameters=chosen, training=(dataset,), context_length=size.context)
        ending, sink = bench.run()
        progress = sink.last.progress
        assert ending is Ending.DONE
        assert progress is not None
        steps = [said.progress for said in sink.said if said.progress]
        return _said(progress.tokens_per_second or 0.0, steps[0].loss, progress.loss, progress.mfu)


def trl(name: str, epochs: int) -> dict[str, Any]:
    """TRL's SFTTrainer at the same settings."""
    return _of_transformers(name, epochs, "trl", gradient_checkpointing=False)


def trl_defaults(name: str, epochs: int) -> dict[str, Any]:
    """TRL's SFTTrainer as it is: with gradient checkpointing, and the precision it chooses."""
    return _of_transformers(name, epochs, "trl")


def transformers(name: str, epochs: int) -> dict[str, Any]:
    """The Trainer of transformers with its own collator."""
    return _of_transformers(name, epochs, "transformers")


def _of_transformers(name: str, epochs: int, library: str, **more: Any) -> dict[str, Any]:
    size, watch = SIZES[name], _Stopwatch()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "base"
        write_model(folder, size)
        tokens = tokens_of(folder, conversations(size))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        given: dict[str, Any] = {
            "model": model,
            "train_dataset": Dataset.from_dict({"input_ids": tokens}),
            "processing_class": AutoTokenizer.from_pretrained(folder),
            "callbacks": [watch],
        }
        arguments = _arguments(size, epochs, scratch) | more
        if library == "trl":
            config = SFTConfig(**arguments, max_length=None, dataset_kwargs={"skip_prepare_dataset": True})
            trainer: Trainer = SFTTrainer(args=config, **given)
        else:
            collator = DataCollatorForLanguageModeling(given["processing_class"], mlm=False)
            trainer = Trainer(args=TrainingArguments(**arguments), data_collator=collator, **given)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return _said(sum(map(len, tokens)) * epochs / watch.seconds, losses[0], losses[-1], None)


def _arguments(size: Size, epochs: int, scratch: str) -> dict[str, Any]:
    return {
        "output_dir": scratch + "/run",
        "num_train_epochs": epochs,
        "per_device_train_batch_size": size.batch_size,
        "learning_rate": _LEARNING_RATE,
        "optim": "adamw_torch",
        "max_grad_norm": 1.0,
        "bf16": size.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "report_to": [],
        "disable_tqdm": True,
    }


def _said(rate: float, first_loss: float | None, last_loss: float | None, mfu: float | None) -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    memory = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rate": rate, "first_loss": first_loss, "last_loss": last_loss, "mfu": mfu, "memory_bytes": memory}


def matmul_ceiling() -> float:
    """Return the bfloat16 FLOP/s of a large product of matrices on this GPU: what utilisation can be at the most."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    began, times = time.perf_counter(), 50
    for _ in range(times):
        a @ b
    torch.cuda.synchronize()
    return 2 * 8192**3 * times / (time.perf_counter() - began)
