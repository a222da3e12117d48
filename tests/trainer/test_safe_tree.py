"""State without pickles comes back as it was."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worker.trainer.safe_tree import load_tree, save_tree

pytestmark = pytest.mark.trainer


def kept(value: Any, folder: Path) -> Any:
    save_tree(value, folder / "tree")
    return load_tree(folder / "tree")


def test_an_optimizers_state_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1 + 0.2)
    torch.autograd.backward(model(torch.randn(4, 3)).sum())
    optimizer.step()
    before = optimizer.state_dict()

    after = kept(before, tmp_path)

    assert after["param_groups"] == before["param_groups"]
    assert after["state"].keys() == before["state"].keys() == {0, 1}
    for number, state in before["state"].items():
        assert all(torch.equal(after["state"][number][name], state[name]) for name in state)


def test_random_states_and_odd_values_come_back(tmp_path: Path) -> None:
    value = {
        "python": (3, (1, 2, 4294967295), None),
        "numpy": ("MT19937", np.array([1, 4294967295], dtype=np.uint32), 5, 0, 0.0),
        "cpu": torch.random.get_rng_state(),
        "__tensor__": "a text that looks like ours",
        7: [True, 1.5, 1e-320, math.inf],
    }

    after = kept(value, tmp_path)

    assert after["python"] == value["python"]
    assert after["numpy"][1].dtype == np.uint32
    assert after["numpy"][1].tolist() == [1, 4294967295]
    assert torch.equal(after["cpu"], torch.random.get_rng_state())
    assert after["__tensor__"] == "a text that looks like ours"
    assert after[7] == value[7]


def test_shared_storage_and_views_are_kept_as_values(tmp_path: Path) -> None:
    whole = torch.arange(6.0)

    after = kept([whole, whole, whole[::2]], tmp_path)

    assert [tensor.tolist() for tensor in after] == [whole.tolist(), whole.tolist(), [0.0, 2.0, 4.0]]


def test_nothing_else_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="PosixPath cannot be kept"):
        save_tree({"a": [tmp_path]}, tmp_path / "tree")


def test_the_files_are_json_and_safetensors(tmp_path: Path) -> None:
    save_tree({"a": torch.ones(1)}, tmp_path / "tree")

    assert {path.name for path in tmp_path.iterdir()} == {"tree.json", "tree.safetensors"}
    assert json.loads((tmp_path / "tree.json").read_text()) == {"a": {"__tensor__": "0"}}
