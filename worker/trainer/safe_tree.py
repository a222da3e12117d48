"""Nested Python values with tensors in them, as JSON and safetensors: what others pickle, without pickles."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

_TENSOR, _ARRAY, _TUPLE, _ITEMS = "__tensor__", "__array__", "__tuple__", "__items__"


def save_tree(value: Any, path: Path) -> None:
    """Write ``path``.json and ``path``.safetensors.

    Dicts (any JSON-able key), lists, tuples, numbers, text, None, tensors and integer arrays come back equal, floats to
    the last bit. Raises TypeError for anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    path.with_suffix(".json").write_text(json.dumps(_packed(value, tensors)))
    save_file(tensors, path.with_suffix(".safetensors"))


def load_tree(path: Path) -> Any:
    """Return what save_tree wrote. Raises ValueError, KeyError or OSError where the files are not that."""
    tensors = load_file(path.with_suffix(".safetensors"))
    return _unpacked(json.loads(path.with_suffix(".json").read_text()), tensors)


def _packed(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    match value:
        case torch.Tensor():
            name = str(len(tensors))
            # Two names for one storage are refused by safetensors; each gets its own.
            tensors[name] = value.detach().cpu().contiguous().clone()
            return {_TENSOR: name}
        case np.ndarray():
            return {_ARRAY: value.tolist(), "dtype": str(value.dtype)}
        case np.integer():
            return int(value)
        case dict() if all(isinstance(key, str) and not key.startswith("__") for key in value):
            return {key: _packed(item, tensors) for key, item in value.items()}
        case dict():
            return {_ITEMS: [[_packed(key, tensors), _packed(item, tensors)] for key, item in value.items()]}
        case tuple():
            return {_TUPLE: [_packed(item, tensors) for item in value]}
        case list():
            return [_packed(item, tensors) for item in value]
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"a {type(value).__name__} cannot be kept without pickling it")


def _unpacked(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    match value:
        case {"__tensor__": name}:
            return tensors[name]
        case {"__array__": items, "dtype": dtype}:
            return np.array(items, dtype=dtype)
        case {"__tuple__": items}:
            return tuple(_unpacked(item, tensors) for item in items)
        case {"__items__": items}:
            return {_unpacked(key, tensors): _unpacked(item, tensors) for key, item in items}
        case dict():
            return {key: _unpacked(item, tensors) for key, item in value.items()}
        case list():
            return [_unpacked(item, tensors) for item in value]
    return value
