"""Languages, numbers, curves and the form's fields."""

import math
import re
from pathlib import Path

import pytest
from starlette.datastructures import FormData, UploadFile

from contracts.codec import encode_body
from contracts.task import Fault, Phase, TaskForm, TrainingType
from tests.fakes.console import ConsoleUnderTest
from worker.console import shown
from worker.console.curve import HEIGHT, LEFT, RIGHT, WIDTH, curve
from worker.console.form import field_of, form_of
from worker.console.languages import translator, wanted
from worker.console.texts import TEXTS
from worker.event_check import ignored_fields

TEMPLATES = Path(__file__).parents[3] / "worker" / "console" / "templates"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,zh;q=0.5", "en"), ("fr, zh;q=0.4, en;q=0.6", "en"), ("", "en"),
        ("de", "en"), ("zh;q=0", "en"), ("zh;q=much", "en"), ("ZH-hans-CN", "zh"),
    ],
)  # fmt: skip
def test_the_browser_s_language_is_spoken(header: str, language: str) -> None:
    assert wanted(header) == language


def test_a_chosen_language_stays_and_leads_back() -> None:
    browser = ConsoleUnderTest().operator()
    assert '<html lang="en">' in browser.get("/tasks").text
    answer = browser.post("/language", data={"language": "zh", "next": "/tasks/new"})
    assert answer.headers["location"] == "/tasks/new"
    assert '<html lang="zh">' in browser.get("/tasks").text
    browser.post("/language", data={"language": "xx"})
    assert '<html lang="zh">' in browser.get("/tasks").text


def test_both_languages_say_everything_with_the_same_values() -> None:
    for key, (english, chinese) in TEXTS.items():
        assert english, key
        assert re.search(r"[\u4e00-\u9fff]", chinese), key
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), key


def test_every_text_a_template_names_is_there_and_none_is_left_over() -> None:
    sources = "\n".join(path.read_text() for path in TEMPLATES.glob("*.html"))
    python = "\n".join(path.read_text() for path in TEMPLATES.parent.rglob("*.py") if path.name != "texts.py")
    named = set(re.findall(r"\bt\('([\w.-]+)'(?! ~)", sources))
    assert named <= TEXTS.keys()
    composed = set(re.findall(r"\bt\('([\w.-]+\.)' ~", sources))
    # Texts that code names: after a translator, or as the key of a refusal.
    in_code = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', python))
    left = {key for key in TEXTS if key not in named | in_code and not key.startswith(tuple(composed))}
    assert left == set()


def test_every_phase_and_training_type_has_a_name() -> None:
    t = translator("zh")
    for phase in Phase:
        assert t(f"phase.{phase.value}")
    for training_type in TrainingType.__args__:  # type: ignore[attr-defined]
        assert training_type in t(f"type.{training_type}")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"preset": "on", "preset_percent": "20"}, {"preset_mix": {"percent": 20}}),
        ({"preset_percent": "20"}, {}),
        ({"preset": "on", "preset_percent": "5", "preset_short": "repeat"},
         {"preset_mix": {"percent": 5, "when_short": "repeat"}}),
        ({"validation": "percent", "validation_percent": "x"}, {"validation": {"percent": "x"}}),
        ({"validation": "", "validation_percent": "5"}, {}),
        ({"description": " two "}, {"description": "two"}),
        ({"visibility": "project"}, {"visibility": "project"}),
        ({"tags": "team = search\r\n\r\nurgent\r\na=b=c"},
         {"tags": [{"key": "team", "value": "search"}, {"key": "urgent", "value": ""}, {"key": "a", "value": "b=c"}]}),
        ({"tags": " \r\n"}, {}),
        ({"tolerance": "ratio", "tolerance_ratio": "0.05"}, {"tolerance": {"max_invalid_ratio": 0.05}}),
        ({"tolerance": "records", "tolerance_records": "0"}, {"tolerance": {"max_invalid_records": 0}}),
        ({"tolerance": "", "tolerance_ratio": "0.05"}, {}),
        ({"shuffle": "none", "shuffle_seed": "7"}, {"shuffle": "none"}),
        ({"shuffle": "seed", "shuffle_seed": "0"}, {"shuffle": 0}),
        ({"shuffle": "seed", "shuffle_seed": ""}, {"shuffle": ""}),
        ({"shuffle": ""}, {}),
        ({"max_cost": "12.5", "max_cost_currency": "CNY"}, {"max_cost": {"amount": "12.5", "currency": "CNY"}}),
        ({"max_cost": "", "max_cost_currency": "CNY"}, {}),
    ],
)  # fmt: skip
def test_what_is_optional_is_said_where_it_is_chosen(fields: dict[str, str], said: dict[str, object]) -> None:
    form = form_of(FormData(fields), "t-1", "default")
    always = form_of(FormData({}), "t-1", "default").keys()
    assert {name: value for name, value in form.items() if name not in always} == said


def test_the_page_has_every_field_of_the_form() -> None:
    page = ConsoleUnderTest().operator().get("/tasks/new").text
    names = {name.partition(".")[0] for name in re.findall(r'name="([^"]+)"', page)}
    # Datasets are brought in one by one, and a quote comes with the fee.
    elsewhere = {"hyperparameters": "hp", "preset_mix": "preset", "training_set": "training_set", "quote_id": "task_id"}
    assert {elsewhere.get(field, field) for field in TaskForm.__struct_fields__} <= names


def test_nothing_that_the_page_says_is_a_field_that_nobody_reads() -> None:
    # So a page has no misspelt fields to tell of: nobody writes JSON here.
    filled_in: list[tuple[str, str | UploadFile]] = [
        ("name", "poems"), ("training_type", "FinetuneLoRA"), ("base_model", "m@1"), ("hp.epochs", "3"),
        ("description", "d"), ("visibility", "project"), ("tags", "team=search"), ("quote_id", "q"),
        ("training_set", "a"), ("multiplier.a", "2"), ("sample_count.a", "7"), ("shuffle", "none"),
        ("preset", "on"), ("preset_percent", "20"), ("preset_short", "repeat"),
        ("max_cost", "9"), ("max_cost_currency", "CNY"),
    ]  # fmt: skip
    for validation in (("validation", "percent"), ("validation_percent", "5")), (("validation", "datasets"),):
        for kind in ("ratio", "records"):
            chosen = [*filled_in, *validation, ("tolerance", kind), (f"tolerance_{kind}", "0")]
            form = form_of(FormData(chosen), "t-1", "default")
            assert form.keys() == set(TaskForm.__struct_fields__)
            assert ignored_fields("task.created", encode_body(form)) == []


def test_numbers_are_numbers_and_what_is_none_stays_for_its_fault() -> None:
    fields: list[tuple[str, str | UploadFile]] = [
        ("output_count", "3"), ("training_set", "a"), ("training_set", "a"), ("training_set", "b"),
        ("multiplier.a", "0.5"), ("multiplier.b", "often"), ("sample_count.b", "20"),
        ("base_model", "x@y@2"), ("hp.epochs", ""),
    ]  # fmt: skip
    form = form_of(FormData(fields), "t-1", "default")
    assert form["training_set"] == [
        {"dataset_id": "a", "multiplier": 0.5}, {"dataset_id": "b", "multiplier": "often", "sample_count": 20},
    ]  # fmt: skip
    assert form["output_count"] == 3
    assert form["base_model"]["foundation"] == {"name": "x@y", "version": "2"}
    assert form["hyperparameters"] == {}


@pytest.mark.parametrize(
    ("field", "id_"),
    [
        ("hyperparameters.learning_rate", "hp.learning_rate"), ("training_set[0].dataset_id", "training-set"),
        ("base_model.foundation", "base_model"), ("validation.percent", "validation_percent"), ("name", "name"),
        ("validation", "validation"), ("preset_mix.percent", "preset_percent"), ("preset_mix", "preset"),
        ("preset_mix.when_short", "preset_short"), ("tags[1].key", "tags"), ("visibility", "visibility"),
        ("tolerance.max_invalid_ratio", "tolerance_ratio"), ("tolerance.max_invalid_records", "tolerance_records"),
        ("max_cost.amount", "max_cost"), ("shuffle", "shuffle"), ("validation.dataset_ids[0]", "validation"),
    ],
)  # fmt: skip
def test_faults_lead_to_a_field_that_the_page_has(field: str, id_: str) -> None:
    assert field_of(Fault(field, "x", "y")) == id_
    assert f'id="{id_}"' in ConsoleUnderTest().operator().get("/tasks/new").text


def test_every_field_of_the_form_has_a_label_or_a_name() -> None:
    page = ConsoleUnderTest().operator().get("/tasks/new").text
    labelled = set(re.findall(r'<label for="([^"]+)"', page))
    fields = re.findall(r"<(?:input|select|textarea)([^>]*)>", page)
    ids = {found[1] for each in fields if 'type="hidden"' not in each and (found := re.search(r'id="([^"]+)"', each))}
    assert len(ids) > 15
    assert ids <= labelled
    described = set(re.findall(r'aria-describedby="([^"]+)"', page))
    assert all(f'id="{each}"' in page for each in described)


def test_a_curve_stays_in_its_box_whatever_its_values() -> None:
    for values in ([1.0], [2.0, 2.0], [0.0], [1e-9, 2e-9], [-5.0, 5e6], [3.0, math.nan, math.inf, 1.0]):
        drawn = curve([list(enumerate(values))])
        assert drawn
        for pair in drawn.lines[0].split():
            x, y = map(float, pair.split(","))
            assert LEFT <= x <= WIDTH - RIGHT
            assert 0 <= y <= HEIGHT
        assert 1 <= len(drawn.y_ticks) <= 12
        assert all(0 <= tick.at <= HEIGHT for tick in drawn.y_ticks)
    assert curve([[(0, math.nan)], []]) is None


def test_ticks_are_round() -> None:
    drawn = curve([[(0, 0.31), (100, 2.9)]])
    assert drawn
    assert [tick.label for tick in drawn.y_ticks] == ["0", "1", "2", "3"]
    assert [tick.label for tick in drawn.x_ticks] == ["0", "20", "40", "60", "80", "100"]


def test_numbers_as_people_read_them() -> None:
    assert [shown.number(value) for value in (1234567, 0.00012345, 1853.2, None)] == [
        "1,234,567", "0.0001234", "1,853", "–",
    ]  # fmt: skip
    assert [shown.size(value) for value in (0, 999, 1500, 9_800_000)] == ["0 B", "999 B", "1.5 kB", "9.8 MB"]
    assert [shown.duration(value) for value in (0.4, 61, 3720, None)] == ["0 s", "1 min 1 s", "1 h 2 min", "–"]
    assert [shown.bound(value) for value in (1e6, 1e-7, 0.5)] == ["1,000,000", "1e-07", "0.5"]
    assert shown.file_name("file:///x/%E8%AF%97.jsonl") == "诗.jsonl"
