"""The operator's converter: one that does what it should leaves a file; whatever else it does fails nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

import worker.trainer.converter
from tests.fakes.gguf import converter, gguf
from tests.wait import wait_until
from worker.trainer.converter import Converter, NotMade

MAKES = f"given.outfile.write_bytes({gguf()!r})"


def wanted() -> bool:
    return True


class Bench:
    """A model's folder, and where its file goes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model, self.target = folder, folder / "model", folder / "made" / "model.gguf"
        self.model.mkdir()

    def convert(self, code: str, *, seconds: float = 60, wanted: Callable[[], bool] = wanted) -> None:
        Converter(converter(self.folder, code), seconds, wanted).convert(self.model, self.target, "f16")

    def refused(self, code: str, *, seconds: float = 60, wanted: Callable[[], bool] = wanted) -> tuple[str, str]:
        """Return reason and message of why there is no file."""
        with pytest.raises(NotMade) as error:
            self.convert(code, seconds=seconds, wanted=wanted)
        return error.value.reason, str(error.value)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_script_is_given_the_model_and_makes_the_file(bench: Bench) -> None:
    bench.convert(f"{MAKES}; (given.outfile.parent / 'given').write_text(f'{{given.model}} {{given.outtype}}')")
    assert bench.target.read_bytes() == gguf()
    assert (bench.target.parent / "given").read_text() == f"{bench.model} f16"
    assert list(bench.model.iterdir()) == []


def test_the_script_is_told_no_secret_and_is_offline(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_KAFKA_PASSWORD", "planted")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    bench.convert(f"{MAKES}; (given.outfile.parent / 'told').write_text(repr(dict(os.environ)))")
    told = (bench.target.parent / "told").read_text()
    assert "planted" not in told
    assert "'HF_HUB_OFFLINE': '1'" in told
    assert f"'HOME': '{bench.target.parent}'" in told


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        ("raise NotImplementedError('BPE pre-tokenizer was not recognized')", "converter-failed", "was not recognized"),
        ("sys.exit(3)", "converter-failed", "ended with 3: it said nothing"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "converter-failed", "ended with -11"),
        ("sys.stderr.buffer.write(b'\\xff\\x1b[2J' * 5000); sys.exit(1)", "converter-failed", "ended with 1: "),
        ("pass", "unusable", "wrote no file"),
        ("given.outfile.write_bytes(b'garbage')", "unusable", "does not begin with GGUF"),
        (f"given.outfile.write_bytes({gguf()[:-1]!r})", "unusable", "39 are there"),
        ("given.outfile.mkdir()", "unusable", "wrote no file"),
        ("os.mkfifo(given.outfile)", "unusable", "wrote no file"),
        ("given.outfile.symlink_to('/dev/zero')", "unusable", "wrote no file"),
    ],
    ids=["raises", "exits", "crashes", "babbles", "writes nothing", "garbage", "cut", "a folder", "a pipe", "a link"],
)
def test_what_a_script_does_badly_is_said(bench: Bench, code: str, reason: str, words: str) -> None:
    found, message = bench.refused(code)
    assert found == reason
    assert words in message
    assert len(message) < 400
    assert message.isprintable()


def test_no_path_of_the_machine_is_said(bench: Bench) -> None:
    _, message = bench.refused("sys.exit(f'cannot read {given.model}/config.json for {given.outfile}')")
    assert message == "the converter ended with 1: cannot read ./config.json for ./model.gguf"


def test_nor_is_one_where_the_file_goes_beside_the_model(bench: Bench) -> None:
    bench.target = bench.folder / "model-gguf" / "model.gguf"
    _, message = bench.refused("sys.exit(f'cannot write {given.outfile} of {given.model}')")
    assert message == "the converter ended with 1: cannot write ./model.gguf of ."


def test_nor_is_a_part_of_one_where_what_is_said_is_cut(bench: Bench) -> None:
    _, message = bench.refused("sys.exit('x' * 290 + f' {given.model}/config.json')")
    assert message == f"the converter ended with 1: {'x' * 290} ./config."


def gone(pid: int) -> bool:
    """Return whether a process has ended; one that nobody has waited for counts as that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


#: Starts a child that outlives it, says both, and hangs, whatever it is asked to.
HANGS = """signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
made = given.outfile.parent / 'pids.new'
made.write_text(f'{os.getpid()} {child.pid}')
made.rename(given.outfile.parent / 'pids')
time.sleep(600)"""


async def test_a_script_that_hangs_is_ended_with_all_it_started(bench: Bench) -> None:
    pids = bench.target.parent / "pids"
    # Long enough to start, whatever else the machine does: asked until then, it is given up after that.
    assert bench.refused(HANGS, seconds=600, wanted=lambda: not pids.exists()) == (
        "stopped",
        "the job was told to end before the converter was done",
    )
    for pid in map(int, pids.read_text().split()):
        await wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]  # mypy knows no default of a lambda


def test_a_script_s_time_is_limited(bench: Bench) -> None:
    assert bench.refused("time.sleep(600)", seconds=0.3) == ("timed-out", "the converter took longer than 0.3 s")


def test_a_script_is_killed_first_where_memory_runs_out(bench: Bench) -> None:
    bench.convert(f"""while pathlib.Path('/proc/self/oom_score_adj').read_text() != '1000\\n':
    time.sleep(0.01)
{MAKES}""")
    assert Path("/proc/self/oom_score_adj").read_text() != "1000\n"


@pytest.mark.parametrize("script", [None, Path("/nowhere/convert_hf_to_gguf.py")])
def test_without_a_script_there_is_no_file(bench: Bench, script: Path | None) -> None:
    with pytest.raises(NotMade, match="WORKER_GGUF_CONVERTER") as error:
        Converter(script, 60, wanted).convert(bench.model, bench.target, "f16")
    assert error.value.reason == "no-converter"
    assert "nowhere" not in str(error.value)


def test_a_script_that_cannot_even_be_looked_at_fails_nothing(bench: Bench) -> None:
    # Python 3.14 takes it for a file that is not there.
    with pytest.raises(NotMade):
        Converter(Path("/" + "x" * 300), 60, wanted).convert(bench.model, bench.target, "f16")


async def test_nothing_of_a_script_that_is_done_is_left_running(bench: Bench) -> None:
    child = "child = subprocess.Popen(['sleep', '600']); (given.outfile.parent / 'pid').write_text(str(child.pid))"
    bench.convert(f"{child}; {MAKES}")
    pid = int((bench.target.parent / "pid").read_text())
    await wait_until(lambda: gone(pid))


def test_a_script_that_talks_without_end_is_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.trainer.converter, "_MOST_SAID", 1_000_000)
    reason, said = bench.refused("print('x' * 1_000_001, flush=True); time.sleep(600)", seconds=600)
    assert (reason, said) == ("converter-failed", "the converter said more than 1 MB")
