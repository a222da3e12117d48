"""Models as people read them."""

from collections.abc import Iterator

from contracts.model import Manifest
from handlers.manifests import expired_when
from handlers.validation.problems import counted
from worker.models.lineage import lineage_of
from worker.models.repository import Entry
from worker.models.verification import Verdict
from worker.validate.excerpt import safe


def entry_lines(entries: list[Entry]) -> Iterator[str]:
    """Yield a line a model."""
    longest = max((len(entry.model_id) for entry in entries), default=0)
    for entry in entries:
        size = f"{entry.size_bytes / 1e6:10,.1f} MB"
        if not entry.complete:
            yield f"{safe(entry.model_id):<{longest}}  {size}  incomplete: no usable manifest"
            continue
        kind = "adapter, merged" if entry.merged else entry.kind
        loss = entry.loss if entry.validation_loss is None else entry.validation_loss
        judged = (
            "" if loss is None else f"  {'loss' if entry.validation_loss is None else 'validation loss'} {loss:.4f}"
        )
        base = safe(entry.base_model or "an unknown base")
        what = f"{kind} of {base}, step {entry.step}  project {entry.project}{judged}"
        expired = f"  expired {entry.expired_at:%Y-%m-%d}" if entry.expired_at else ""
        yield f"{entry.model_id:<{longest}}  {size}  {what}{expired}{safe(''.join(f'  {ref}' for ref in entry.refs))}"


def manifest_lines(manifest: Manifest) -> Iterator[str]:
    """Yield what a manifest says, the most asked for first; all of it is in its JSON."""
    kept = manifest.kept
    yield f"{manifest.model_id}: {manifest.kind}, step {manifest.step} of task {manifest.task_id}"
    if manifest.expiry:
        yield f"  {expired_when(manifest.expiry)}: its files are deleted, or will be once nobody uses them"
    place = "by validation loss" if kept.by == "validation-loss" else "from the end"
    apart = "" if kept.distance is None else f", {kept.distance} steps from the next"
    yield f"  kept       number {kept.rank} of {len(kept.steps)} {place}{apart}"
    yield from map(safe, _lineage_lines(manifest))
    if manifest.metrics:
        metrics = (f"{name.replace('_', ' ')} {value:.4f}" for name, value in sorted(manifest.metrics.items()))
        yield safe(f"  metrics    {', '.join(metrics)}")
    if manifest.probe:
        merged = manifest.probe.merged_difference
        of_merged = "" if merged is None else f", merged weights are {merged:.2g} off"
        yield f"  probe      {safe(manifest.probe.path)}, tolerance {manifest.probe.tolerance:g}{of_merged}"
    if manifest.gguf:
        made = f"{manifest.gguf.path}, {manifest.gguf.type}"
        none = f"none: {manifest.gguf.reason}: {manifest.gguf.message}"
        yield safe(f"  gguf       {made if manifest.gguf.status == 'made' else none}")
    for file in manifest.files:
        yield f"  {file.digest.removeprefix('sha256:')}  {file.size:>13,}  {safe(file.path)}"


def _lineage_lines(manifest: Manifest) -> Iterator[str]:
    lineage = lineage_of(manifest)
    if lineage is None:
        yield "  lineage    not as the export stage writes it"
        return
    base, foundation = lineage.base, lineage.foundation
    name = f"{base.model_id}, made of {foundation}" if base.model_id else foundation
    yield f"  base       {name}  {base.revision or 'revision not known'}"
    yield f"  trained    {lineage.training_type} on {lineage.executor}, attempt {manifest.attempt}"
    for dataset in lineage.training:
        samples, files = counted(dataset.samples, "sample"), counted(len(dataset.files), "file")
        yield f"  dataset    {dataset.dataset_id}: {samples} in {files}"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield every problem and whatever could not be checked, then what it comes to."""
    for problem in verdict.problems:
        yield f"{safe(problem.path)}: {problem.code}: {safe(problem.message)}"
    for unchecked in verdict.unchecked:
        yield f"not checked: {safe(unchecked)}"
    what = f"{verdict.model_id or verdict.place}: {counted(verdict.files, 'file')}, {verdict.size_bytes / 1e6:,.1f} MB"
    if verdict.problems:
        files = len({problem.path for problem in verdict.problems})
        yield f"broken: {what}, {counted(len(verdict.problems), 'problem')} in {counted(files, 'file')}"
    elif verdict.unchecked:
        yield f"not verified: {what}; what was checked is intact"
    else:
        yield f"verified: {what}, its probe repeats within {verdict.difference:.2g}, tolerance {verdict.tolerance:g}"
