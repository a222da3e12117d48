"""Models as people read them."""

from collections.abc import Iterator

from contracts.model import Manifest
from contracts.strict_json import printable
from handlers.validation.problems import counted
from worker.models.repository import Entry
from worker.models.verification import Verdict


def entry_lines(entries: list[Entry]) -> Iterator[str]:
    """Yield a line a model."""
    longest = max((len(entry.model_id) for entry in entries), default=0)
    for entry in entries:
        size = f"{entry.size_bytes / 1e6:10,.1f} MB"
        if not entry.complete:
            yield f"{printable(entry.model_id):<{longest}}  {size}  incomplete: no usable manifest"
            continue
        kind = "adapter, merged" if entry.merged else entry.kind
        loss = entry.loss if entry.validation_loss is None else entry.validation_loss
        judged = (
            "" if loss is None else f"  {'loss' if entry.validation_loss is None else 'validation loss'} {loss:.4f}"
        )
        yield (
            f"{entry.model_id:<{longest}}  {size}  {kind} of {printable(entry.base_model or '')}, step {entry.step}"
            f"  project {entry.project}{judged}"
        )


def manifest_lines(manifest: Manifest) -> Iterator[str]:
    """Yield what a manifest says, the most asked for first; all of it is in its JSON."""
    lineage, kept = manifest.lineage, manifest.kept
    yield f"{manifest.model_id}: {manifest.kind}, step {manifest.step} of task {manifest.task_id}"
    place = "by validation loss" if kept.by == "validation-loss" else "from the end"
    apart = "" if kept.distance is None else f", {kept.distance} steps from the next"
    yield f"  kept       number {kept.rank} of {len(kept.steps)} {place}{apart}"
    base = lineage.get("base")
    revision = base.get("revision") if isinstance(base, dict) else None
    yield f"  base       {lineage.get('base_model')}@{lineage.get('base_version')}  {revision or 'revision not known'}"
    yield f"  trained    {lineage.get('training_type')} on {lineage.get('executor')}, attempt {manifest.attempt}"
    for name, value in sorted(manifest.metrics.items()):
        yield f"  {name.replace('_', ' ')}: {value}"
    for dataset in lineage.get("training", ()):
        yield f"  dataset    {dataset['dataset_id']}: {dataset['samples']} samples in {len(dataset['files'])} files"
    if manifest.probe:
        merged = manifest.probe.merged_difference
        of_merged = "" if merged is None else f", merged weights are {merged:.2g} off"
        yield f"  probe      {manifest.probe.path}, tolerance {manifest.probe.tolerance:g}{of_merged}"
    for file in manifest.files:
        yield f"  {file.digest.removeprefix('sha256:')}  {file.size:>13,}  {printable(file.path)}"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield every problem and whatever could not be checked, then what it comes to."""
    for problem in verdict.problems:
        yield f"{printable(problem.path)}: {problem.code}: {printable(problem.message)}"
    for unchecked in verdict.unchecked:
        yield f"not checked: {printable(unchecked)}"
    what = f"{verdict.model_id or verdict.place}: {counted(verdict.files, 'file')}, {verdict.size_bytes / 1e6:,.1f} MB"
    if verdict.problems:
        files = len({problem.path for problem in verdict.problems})
        yield f"broken: {what}, {counted(len(verdict.problems), 'problem')} in {counted(files, 'file')}"
    elif verdict.unchecked:
        yield f"not verified: {what}; what was checked is intact"
    else:
        yield f"verified: {what}, its probe repeats within {verdict.difference:.2g}, tolerance {verdict.tolerance:g}"
