"""``python -m worker.trainer.generate``: load a model as anybody would, and print its answer."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from worker.settings import Settings, SettingsError
from worker.storage.file_uri import path_of
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
            put_at_hand(bucket, given.model_uri, given.base, Path(scratch, "model"))
            answer = ask(bucket, given.prompt, Path(scratch), given.max_new_tokens)
    except (JobError, SettingsError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not answer:
        sys.stderr.write("the answer is empty: the likeliest next token ends it\n")
    said = {"model": given.model_uri or given.base, "prompt": given.prompt, "answer": answer}
    sys.stdout.write((json.dumps(said, ensure_ascii=False) if given.json else answer) + "\n")
    return 0


def put_at_hand(bucket: Bucket, model_uri: str | None, base: str, folder: Path) -> None:
    """Put a model's files into a new folder: those of a folder of this machine as links, others as they come.

    Raises:
        ValueError: there is no such model, or its URI does not lead into the bucket.
        JobError: it is not complete.
    """
    from worker.trainer.model_files import fetch_model, is_wanted  # noqa: PLC0415 - only after the environment is set

    local = _folder_of(model_uri) if model_uri else None
    if local is None:
        prefix = bucket.key(model_uri) if model_uri else prefix_of(base)
        prefix = prefix.rstrip("/") + "/"
        if model_uri and not bucket.listed(prefix):
            raise ValueError(f"no model {model_uri}; worker models list shows the models there are")
        fetch_model(bucket, prefix, folder)
        return
    for path in local.rglob("*"):
        if is_wanted(name := path.relative_to(local).as_posix()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(path.resolve())


def _folder_of(model_uri: str) -> Path | None:
    """Return the folder of this machine that was named, if any: a file:// URI may be one, too."""
    folder = Path(path_of(model_uri) if model_uri.lower().startswith("file:") else model_uri)
    if folder.is_dir():
        return folder
    if "://" not in model_uri:
        raise ValueError(f"no model {model_uri} (no such folder); worker models list shows the models there are")
    return None


def ask(bucket: Bucket, prompt: str, scratch: Path, max_new_tokens: int = _LENGTH) -> str:
    """Return the answer of the model in ``scratch``/model, always the most likely token next.

    Raises:
        JobError: the base that its adapter is on is not in the bucket.
        OSError, ValueError: its files cannot be loaded.
    """
    import torch  # noqa: PLC0415 - only after the environment is set
    from transformers import AutoTokenizer  # noqa: PLC0415 - the same

    model = load(bucket, scratch)
    tokenizer: Any = AutoTokenizer.from_pretrained(scratch / "model", local_files_only=True, trust_remote_code=False)
    conversation = [{"role": "user", "content": prompt}]
    asked = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    with torch.no_grad():
        tokens = model.generate(**asked, max_new_tokens=max_new_tokens, do_sample=False)
    new = tokens[0, asked["input_ids"].shape[1] :]
    answer: str = tokenizer.decode(new, skip_special_tokens=True)
    return answer.strip()


def load(bucket: Bucket, scratch: Path) -> Any:
    """Return the model in ``scratch``/model: a full one from its own files, an adapter's on its base in the bucket."""
    from peft import PeftModel  # noqa: PLC0415 - only after the environment is set

    from worker.trainer.models import load_base  # noqa: PLC0415 - the same
    from worker.trainer.whole import base_prefix_of, fetch_whole  # noqa: PLC0415 - the same

    folder = scratch / "model"
    if not (folder / "adapter_config.json").exists():
        model: Any = load_base(folder)
        return model.eval()
    fetch_whole(bucket, base_prefix_of(folder), scratch / "base")
    adapted: Any = PeftModel.from_pretrained(load_base(scratch / "base"), folder)
    return adapted.eval()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.trainer.generate", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--model-uri", help="URI of an exported model in the bucket, or the folder of one that was downloaded"
    )
    which.add_argument("--base", help="name of a base model")
    parser.add_argument("--prompt", required=True, help="what to ask")
    parser.add_argument("--max-new-tokens", type=int, default=_LENGTH, help="longest answer (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
