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
    packer = _Packer()
    path.with_suffix(".json").write_text(json.dumps(packer.packed(value)))
    save_file(packer.tensors, path.with_suffix(".safetensors"))


def load_tree(path: Path) -> Any:
    """Return what save_tree wrote. Raises ValueError, KeyError or OSError where the files are not that."""
    tensors = load_file(path.with_suffix(".safetensors"))
    return _unpacked(json.loads(path.with_suffix(".json").read_text()), tensors)


class _Packer:
    """Takes the tensors out of a value."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._storages: set[int] = set()

    def packed(self, value: Any) -> Any:
        match value:
            case torch.Tensor():
                return {_TENSOR: self._taken(value.detach().cpu().contiguous())}
            case np.ndarray():
                return {_ARRAY: value.tolist(), "dtype": str(value.dtype)}
            case np.integer():
                return int(value)
            case dict() if all(isinstance(key, str) and not key.startswith("__") for key in value):
                return {key: self.packed(item) for key, item in value.items()}
            case dict():
                return {_ITEMS: [[self.packed(key), self.packed(item)] for key, item in value.items()]}
            case tuple():
                return {_TUPLE: [self.packed(item) for item in value]}
            case list():
                return [self.packed(item) for item in value]
            case None | bool() | int() | float() | str():
                return value
        raise TypeError(f"a {type(value).__name__} cannot be kept without pickling it")

    def _taken(self, tensor: torch.Tensor) -> str:
        # Two names for one storage are refused by safetensors. Whatever is alone in its own is not copied: the states
        # of an optimizer are twice as large as its model.
        storage = tensor.untyped_storage().data_ptr()
        name = str(len(self.tensors))
        self.tensors[name] = tensor.clone() if storage in self._storages else tensor
        self._storages.add(storage)
        return name


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
