import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.form import Draft, check_hyperparameters, form_digest, read_draft, read_form
from contracts.hyperparameters import MAX_FAULTS, HyperparameterRule, resolve
from contracts.task import TaskForm, TrainingDataset
from contracts.topics import TOPICS

FOUNDATION = {"foundation": {"name": "smollm2-135m", "version": "1"}}
GOOD: dict[str, Any] = {
    "task_id": "task-1",
    "name": "古诗_v1",
    "training_type": "FinetuneLoRA",
    "base_model": FOUNDATION,
    "training_set": [{"dataset_id": "poems"}],
}
RULES = {
    "epochs": HyperparameterRule(type="int", default=1, min=1, max=10),
    "learning_rate": HyperparameterRule(type="float", default=1e-4, min=0, max=1),
    "packing": HyperparameterRule(type="bool", default=False),
    "scheduler": HyperparameterRule(type="str", default="cosine", enum=("cosine", "linear")),
    "lora_rank": HyperparameterRule(type="int", default=8, enum=("8", "16")),
    "warmup": HyperparameterRule(type="int", default=0),
    "one_file": HyperparameterRule(type="str", default="off", enum=("off", "f16"), needs="packing"),
}


def body(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def faults(raw: bytes) -> list[tuple[str, str]]:
    reading = read_form(raw)
    assert (reading.form is None) == bool(reading.faults)
    assert all(fault.message for fault in reading.faults)
    return [(fault.field, fault.code) for fault in reading.faults]


def test_a_form_without_fault_is_the_form_its_contract_decodes() -> None:
    full = body(
        description="v1",
        visibility="project",
        project="p1",
        tags=[{"key": "a"}, {"key": "b", "value": "x"}],
        hyperparameters={"epochs": "3", "packing": True, "learning_rate": 0.5, "warmup": 2},
        output_count=2,
        training_set=[{"dataset_id": "poems", "multiplier": 0.5}, {"dataset_id": "songs", "sample_count": 10}],
        preset_mix={"percent": 20, "when_short": "repeat"},
        validation={"dataset_ids": ["check"]},
        tolerance={"max_invalid_ratio": 0.1},
        shuffle=7,
        max_cost={"amount": "12.50", "currency": "CNY"},
        something_new={"x": None},
    )
    reading = read_form(full)
    assert reading.faults == ()
    assert reading.form == msgspec.json.decode(full, type=TaskForm)


def test_the_smallest_form() -> None:
    assert faults(body()) == []


@pytest.mark.parametrize("field", ["task_id", "name", "training_type", "base_model", "training_set"])
def test_what_is_required_is_missed_and_null_is_no_value(field: str) -> None:
    assert faults(json.dumps({k: v for k, v in GOOD.items() if k != field}).encode()) == [(field, "missing-field")]
    assert faults(body(**{field: None})) == [(field, "wrong-type")]


@pytest.mark.parametrize("field", ["preset_mix", "validation", "shuffle", "max_cost"])
def test_what_may_be_switched_off_may_be_null(field: str) -> None:
    assert faults(body(**{field: None})) == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"task_id": "a b"}, ("task_id", "invalid-format")),
        ({"task_id": "a\n"}, ("task_id", "invalid-format")),
        ({"task_id": "a" * 129}, ("task_id", "invalid-format")),
        ({"task_id": 7}, ("task_id", "wrong-type")),
        ({"name": ""}, ("name", "invalid-format")),
        ({"name": "a" * 201}, ("name", "invalid-format")),
        ({"name": "has space"}, ("name", "invalid-format")),
        ({"name": 5}, ("name", "wrong-type")),
        ({"description": "字" * 301}, ("description", "invalid-format")),
        ({"visibility": "everyone"}, ("visibility", "unknown-value")),
        ({"project": ""}, ("project", "invalid-format")),
        ({"tags": {"key": "a"}}, ("tags", "wrong-type")),
        ({"tags": [{"value": "a"}]}, ("tags[0].key", "missing-field")),
        ({"tags": [{"key": ""}]}, ("tags[0].key", "invalid-length")),
        ({"tags": [{"key": "a"}, {"key": "b"}, {"key": "a"}]}, ("tags[2].key", "duplicate-tag")),
        ({"training_type": "sft"}, ("training_type", "unknown-training-type")),
        ({"training_type": 1}, ("training_type", "wrong-type")),
        ({"base_model": {}}, ("base_model", "base-model-choice")),
        ({"base_model": {**FOUNDATION, "custom_model_id": "m"}}, ("base_model", "base-model-choice")),
        ({"base_model": "smollm2"}, ("base_model", "wrong-type")),
        ({"base_model": {"foundation": {"name": "x"}}}, ("base_model.foundation.version", "missing-field")),
        ({"base_model": {"custom_model_id": "../x"}}, ("base_model.custom_model_id", "invalid-format")),
        ({"hyperparameters": ["epochs"]}, ("hyperparameters", "wrong-type")),
        ({"hyperparameters": {"epochs": None}}, ("hyperparameters.epochs", "wrong-type")),
        ({"hyperparameters": {"epochs": [1]}}, ("hyperparameters.epochs", "wrong-type")),
        ({"hyperparameters": {"epochs": 10**400}}, ("hyperparameters.epochs", "out-of-range")),
        ({"output_count": 0}, ("output_count", "out-of-range")),
        ({"output_count": 11}, ("output_count", "out-of-range")),
        ({"output_count": "3"}, ("output_count", "wrong-type")),
        ({"output_count": True}, ("output_count", "wrong-type")),
        ({"output_count": 1.0}, ("output_count", "wrong-type")),
        ({"training_set": []}, ("training_set", "invalid-length")),
        ({"training_set": ["poems"]}, ("training_set[0]", "wrong-type")),
        ({"training_set": [{"dataset_id": "p", "multiplier": 0}]}, ("training_set[0].multiplier", "out-of-range")),
        (
            {"training_set": [{"dataset_id": "p", "multiplier": 10**400}]},
            ("training_set[0].multiplier", "out-of-range"),
        ),
        *(
            (
                {"training_set": [{"dataset_id": "p", "sample_count": n}]},
                ("training_set[0].sample_count", "out-of-range"),
            )
            for n in (0, 100_000_001, 10**10, 3 * 10**17, 184467440737095517, 2**63, 10**30)
        ),
        (
            {"training_set": [{"dataset_id": "p", "multiplier": 2, "sample_count": 5}]},
            ("training_set[0]", "multiplier-and-sample-count"),
        ),
        (
            {"training_set": [{"dataset_id": "p"}, {"dataset_id": "p"}]},
            ("training_set[1].dataset_id", "duplicate-dataset"),
        ),
        ({"preset_mix": {"percent": 0}}, ("preset_mix.percent", "out-of-range")),
        ({"preset_mix": {"percent": 100}}, ("preset_mix.percent", "out-of-range")),
        ({"preset_mix": {"percent": 20, "when_short": "stop"}}, ("preset_mix.when_short", "unknown-value")),
        ({"preset_mix": {}}, ("preset_mix.percent", "missing-field")),
        ({"validation": {}}, ("validation", "validation-choice")),
        ({"validation": {"percent": 10, "dataset_ids": ["c"]}}, ("validation", "validation-choice")),
        ({"validation": {"percent": 51}}, ("validation.percent", "out-of-range")),
        ({"validation": {"percent": 0}}, ("validation.percent", "out-of-range")),
        ({"validation": {"dataset_ids": "c"}}, ("validation.dataset_ids", "wrong-type")),
        ({"validation": {"dataset_ids": ["c", "c"]}}, ("validation.dataset_ids[1]", "duplicate-dataset")),
        ({"validation": {"dataset_ids": ["poems"]}}, ("validation.dataset_ids[0]", "validation-overlaps-training")),
        ({"tolerance": {"max_invalid_ratio": 0.1, "max_invalid_records": 1}}, ("tolerance", "tolerance-choice")),
        ({"tolerance": {"max_invalid_ratio": 1.1}}, ("tolerance.max_invalid_ratio", "out-of-range")),
        ({"tolerance": {"max_invalid_records": -1}}, ("tolerance.max_invalid_records", "out-of-range")),
        ({"shuffle": "often"}, ("shuffle", "unknown-value")),
        ({"shuffle": -1}, ("shuffle", "out-of-range")),
        ({"shuffle": 2**63}, ("shuffle", "out-of-range")),
        ({"shuffle": 1.5}, ("shuffle", "wrong-type")),
        ({"max_cost": {"amount": 12, "currency": "CNY"}}, ("max_cost.amount", "wrong-type")),
        ({"max_cost": {"amount": "-1", "currency": "CNY"}}, ("max_cost.amount", "invalid-format")),
        ({"max_cost": {"amount": "1", "currency": "yuan"}}, ("max_cost.currency", "invalid-format")),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_each_rule_names_its_field(changed: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults(body(**changed)) == [fault]


def test_five_faults_are_five() -> None:
    raw = body(
        name="bad name",
        training_type="FinetuneLora",
        output_count=0,
        training_set=[
            {"dataset_id": "p", "multiplier": -1},
            {"dataset_id": "q", "multiplier": 1, "sample_count": 1},
        ],
    )
    assert sorted(faults(raw)) == [
        ("name", "invalid-format"),
        ("output_count", "out-of-range"),
        ("training_set[0].multiplier", "out-of-range"),
        ("training_set[1]", "multiplier-and-sample-count"),
        ("training_type", "unknown-training-type"),
    ]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("finetune-lora", "did you mean 'FinetuneLoRA'?"),
        ("Lora", "did you mean 'FinetuneLoRA' or 'DPOLoRA'?"),
        ("sft", "did you mean 'FinetuneSft'?"),
        ("dpo", "did you mean 'DPO'?"),
        ("PO", "did you mean 'DPO'?"),
        ("x", "choose one of FinetuneSft, FinetuneLoRA, "),
    ],
)
def test_a_misspelt_training_type_is_answered_with_those_it_may_be_meant_for(said: str, meant: str) -> None:
    (fault,) = read_form(body(training_type=said)).faults
    assert meant in fault.message


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid-json"),
        (b'{"task_id": "a"', "invalid-json"),
        (b"\xff", "invalid-utf8"),
        (b"[]", "not-an-object"),
        (b"7", "not-an-object"),
        (b"[" * 100_000, "invalid-json"),
    ],
)
def test_what_is_no_json_object_is_one_fault(raw: bytes, code: str) -> None:
    assert faults(raw) == [("", code)]


def test_a_number_no_reader_agrees_on_is_a_fault_beside_the_others() -> None:
    raw = body(output_count=0, extra=1).replace(b'"extra": 1', b'"tolerance": {"max_invalid_ratio": NaN}')
    assert faults(raw) == [("tolerance.max_invalid_ratio", "invalid-json"), ("output_count", "out-of-range")]


def test_half_a_surrogate_pair_is_a_fault_that_can_be_written_down() -> None:
    reading = read_form(body(tags=[{"key": "\ud800"}], hyperparameters={"\ud800": None}))
    assert {fault.code for fault in reading.faults} == {"invalid-json", "wrong-type"}
    msgspec.json.encode(reading)


def test_a_name_given_twice_is_a_fault_where_it_is_read() -> None:
    raw = body().replace(b'"task_id"', b'"name": "x", "unknown": {"y": 1, "y": 2}, "task_id"')
    assert faults(raw) == [("name", "duplicate-key")]
    raw = body(hyperparameters={"a": 1}).replace(b'"a": 1', b'"epochs": 1, "epochs": 2')
    assert faults(raw) == [("hyperparameters.epochs", "duplicate-key")]


def test_more_faults_than_an_event_can_carry_are_counted() -> None:
    reading = read_form(body(tags=[{"key": ""}] * 5000))
    assert len(reading.faults) == MAX_FAULTS
    assert reading.faults[-1].code == "more-faults"


# --- hyperparameters --------------------------------------------------------------------------------------------


def test_values_may_be_texts_and_what_is_not_given_has_its_default() -> None:
    given_values = {"epochs": "3", "learning_rate": "1e-5", "packing": "true", "lora_rank": "16"}
    values, wrong = resolve(given_values, RULES)
    assert wrong == ()
    assert values == {
        "epochs": 3, "learning_rate": 1e-5, "packing": True, "scheduler": "cosine", "lora_rank": 16, "warmup": 0,
        "one_file": "off",
    }  # fmt: skip
    assert type(values["epochs"]) is int


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("epochs", "three", "wrong-type"),
        ("epochs", 1.5, "wrong-type"),
        ("epochs", True, "wrong-type"),
        ("epochs", "", "wrong-type"),
        ("epochs", 0, "out-of-range"),
        ("epochs", "11", "out-of-range"),
        ("warmup", 2**63, "out-of-range"),
        ("warmup", "9" * 29, "out-of-range"),
        ("learning_rate", "nan", "wrong-type"),
        ("learning_rate", "1_0", "wrong-type"),
        ("learning_rate", "1e999", "out-of-range"),
        ("learning_rate", 10**400, "out-of-range"),
        ("packing", 1, "wrong-type"),
        ("packing", "yes", "wrong-type"),
        ("scheduler", "cosin", "unknown-value"),
        ("scheduler", 1, "wrong-type"),
        ("lora_rank", 9, "unknown-value"),
        ("epoch", 3, "unknown-hyperparameter"),
    ],
)
def test_a_hyperparameter_that_breaks_its_rule_is_named_and_has_its_default(name: str, value: Any, code: str) -> None:
    values, wrong = resolve({name: value}, RULES)
    assert [(fault.field, fault.code) for fault in wrong] == [(f"hyperparameters.{name}", code)]
    assert values == resolve({}, RULES)[0]
    msgspec.json.encode(wrong)


def test_a_hyperparameter_without_the_switch_that_it_needs_is_named_with_the_switch() -> None:
    (fault,) = resolve({"one_file": "f16", "packing": "false"}, RULES)[1]
    assert (fault.field, fault.code) == ("hyperparameters.one_file", "needs-another")
    assert fault.message == "needs packing: set packing to true, or leave one_file at off"
    (fault,) = resolve({"one_file": "f16", "packing": "perhaps"}, RULES)[1]
    assert fault.field == "hyperparameters.packing"
    for allowed in ({"one_file": "f16", "packing": "true"}, {"one_file": "off"}, {"packing": True}, {}):
        assert resolve(allowed, RULES)[1] == ()


def test_whole_numbers_however_written_are_integers() -> None:
    assert resolve({"epochs": 3.0}, RULES)[0]["epochs"] == 3
    assert resolve({"epochs": " 3.0 "}, RULES)[0]["epochs"] == 3


def test_a_misspelt_hyperparameter_is_answered_with_the_nearest() -> None:
    _, (fault,) = resolve({"Learning-Rate": 1}, RULES)
    assert "'learning_rate'" in fault.message


def test_hyperparameters_are_checked_beside_every_other_fault() -> None:
    reading = read_form(body(name="", hyperparameters={"epoch": 1, "epochs": None, "packing": "no"}))
    both = check_hyperparameters(reading, RULES)
    assert [fault.field for fault in both.faults] == [
        "name", "hyperparameters.epochs", "hyperparameters.epoch", "hyperparameters.packing",
    ]  # fmt: skip
    assert both == read_form(body(name="", hyperparameters={"epoch": 1, "epochs": None, "packing": "no"}), rules=RULES)


def test_a_form_is_refused_for_its_hyperparameters_alone() -> None:
    reading = read_form(body(hyperparameters={"epochs": 99}), rules=RULES)
    assert reading.form is None
    assert read_form(body(hyperparameters={"epochs": 9}), rules=RULES).form is not None


def test_unknown_hyperparameters_without_number_stay_bounded() -> None:
    _, wrong = resolve({f"x{n}" * 1000: 1 for n in range(1000)}, RULES)
    assert len(wrong) == MAX_FAULTS
    assert all(len(fault.message) < 300 for fault in wrong)


# --- drafts -----------------------------------------------------------------------------------------------------


def test_a_draft_keeps_what_can_be_used() -> None:
    draft = read_draft(
        {
            "task_id": "t",
            "base_model": {},
            "training_type": "DPO",
            "training_set": [{"dataset_id": "p"}],
            "hyperparameters": {"epochs": "2", "packing": None, "a[0]": [], "lora.rank": {}},
            "preset_mix": {"percent": 100},
            "validation": None,
            "tolerance": "none",
            "name": 7,
        }
    )
    assert draft == Draft(
        task_id="t",
        training_type="DPO",
        training_set=(TrainingDataset(dataset_id="p"),),
        hyperparameters={"epochs": "2"},
        faults=draft.faults,
    )
    assert {fault.field for fault in draft.faults} == {
        "base_model",
        "hyperparameters.a[0]",
        "hyperparameters.lora.rank",
        "preset_mix.percent",
        "tolerance",
    }


@pytest.mark.parametrize("name", ["training_set", "hyperparameters", "tolerance", "base_model"])
def test_null_in_a_draft_is_not_filled_in_yet(name: str) -> None:
    assert read_draft({name: None}) == Draft()
    assert read_draft({"hyperparameters": {"epochs": None}}).faults == ()


def test_an_empty_draft() -> None:
    assert read_draft({}) == Draft()


def test_a_faulty_form_still_says_what_it_is_for() -> None:
    draft = read_form(body(name="")).draft
    assert draft.training_type == "FinetuneLoRA"
    assert draft.base_model is not None


# --- digests ----------------------------------------------------------------------------------------------------


def test_the_order_of_names_and_white_space_do_not_make_another_form() -> None:
    assert form_digest(body()) == form_digest(json.dumps(dict(reversed(GOOD.items())), indent=2).encode())
    assert form_digest(b'{"a": "\\u5b57"}') == form_digest('{"a": "字"}'.encode())
    assert form_digest(body()) != form_digest(body(description="x"))
    assert form_digest(b'{"a": 1}') != form_digest(b'{"a": "1"}') != form_digest(b'{"a": true}')


def test_what_cannot_be_read_is_its_bytes() -> None:
    assert form_digest(b'{"a": 1, "a": 2}') != form_digest(b'{"a": 2}')
    assert form_digest(b"\xff") != form_digest(b"{")


# --- whatever arrives -------------------------------------------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["poems", "t", ""])
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
NAMES = sorted({*TaskForm.__struct_fields__, *TrainingDataset.__struct_fields__, "percent", "dataset_ids", "key"})
FORM_LIKE = st.recursive(
    ANYTHING,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), FORM_LIKE))
def test_any_object_with_a_legal_task_id_is_read(form: dict[str, Any]) -> None:
    raw = json.dumps({**form, "task_id": "t"}).encode()
    reading = read_form(raw, rules=RULES)
    assert (reading.form is None) == bool(reading.faults)
    assert reading.form is None or reading.form.task_id == "t"
    msgspec.json.encode(reading)
    assert len(form_digest(raw)) == 64


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), FORM_LIKE))
def test_what_is_read_as_good_is_what_the_contract_accepts(changed: dict[str, Any]) -> None:
    raw = body(**changed)
    reading = read_form(raw)
    try:
        by_contract: TaskForm | None = msgspec.json.decode(raw, type=TaskForm)
    except (msgspec.DecodeError, UnicodeDecodeError):
        by_contract = None
    if reading.form is not None:
        assert reading.form == by_contract


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(NAMES), FORM_LIKE))
def test_any_draft_is_read(draft: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(draft))
    assert read_draft(plain).task_id in (None, plain.get("task_id"))


@given(st.binary())
def test_any_bytes_are_read(raw: bytes) -> None:
    assert read_form(raw).form is None
    form_digest(raw)


def test_the_contract_behind_the_topic_is_the_form() -> None:
    assert TOPICS["task.created"].contract is TaskForm
