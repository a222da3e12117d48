"""``python -m worker.trainer.generate``: load a model from the bucket as anybody would, and print its answer."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from worker.settings import Settings, SettingsError
from worker.trainer import environment
from worker.trainer.base_models import prefix_of
from worker.trainer.bucket import Bucket, open_bucket
from worker.trainer.failures import JobError

#: Tokens of an answer, at most, where nothing else is said.
_LENGTH = 64


def main(arguments: list[str]) -> int:
    """Print one answer and return the exit code: 0 answered, 2 the model could not be loaded."""
    given = _parser().parse_args(arguments)
    environment.prepare()
    try:
        with (
            open_bucket(Settings.from_environment()) as bucket,
            tempfile.TemporaryDirectory(prefix="model-") as scratch,
        ):
            prefix = bucket.key(given.model_uri) if given.model_uri else prefix_of(given.base)
            answer = ask(bucket, prefix, given.prompt, Path(scratch), given.max_new_tokens)
    except (JobError, SettingsError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    said = {"model": given.model_uri or given.base, "prompt": given.prompt, "answer": answer}
    sys.stdout.write((json.dumps(said, ensure_ascii=False) if given.json else answer) + "\n")
    return 0


def ask(bucket: Bucket, prefix: str, prompt: str, scratch: Path, max_new_tokens: int = _LENGTH) -> str:
    """Return a model's answer, always the most likely token next. ``scratch`` takes its files.

    Raises:
        JobError: the model, or the base its adapter is on, is not in the bucket.
        OSError, ValueError: its files cannot be loaded.
    """
    import torch  # noqa: PLC0415 - only after the environment is set
    from transformers import AutoTokenizer  # noqa: PLC0415 - the same

    folder = scratch / "model"
    model = load(bucket, prefix.rstrip("/") + "/", scratch)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    conversation = [{"role": "user", "content": prompt}]
    asked = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    with torch.no_grad():
        tokens = model.generate(**asked, max_new_tokens=max_new_tokens, do_sample=False)
    new = tokens[0, asked["input_ids"].shape[1] :]
    answer: str = tokenizer.decode(new, skip_special_tokens=True)
    return answer.strip()


def load(bucket: Bucket, prefix: str, scratch: Path) -> Any:
    """Return a model: a full one from its own files, an adapter's on its base. Its files are in ``scratch``/model."""
    from peft import PeftModel  # noqa: PLC0415 - only after the environment is set

    from worker.trainer.model_files import fetch_model  # noqa: PLC0415 - the same
    from worker.trainer.models import load_base  # noqa: PLC0415 - the same
    from worker.trainer.whole import base_prefix_of, fetch_whole  # noqa: PLC0415 - the same

    folder = scratch / "model"
    fetch_model(bucket, prefix, folder)
    if not (folder / "adapter_config.json").exists():
        model: Any = load_base(folder)
        return model.eval()
    fetch_whole(bucket, base_prefix_of(folder), scratch / "base")
    adapted: Any = PeftModel.from_pretrained(load_base(scratch / "base"), folder)
    return adapted.eval()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.trainer.generate", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model-uri", help="URI of an exported model in the bucket")
    which.add_argument("--base", help="name of a base model")
    parser.add_argument("--prompt", required=True, help="what to ask")
    parser.add_argument("--max-new-tokens", type=int, default=_LENGTH, help="longest answer (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
