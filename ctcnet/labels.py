"""Label schemas: the classes of a task, how they nest and which of them roll up to a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.errors import LabelError
from ctcnet.resources import find_config
from ctcnet.settings_file import check_keys, read_yaml_mapping

CONTAINS_CTC = "contains_ctc"
"""Name of the roll-up whose classes hold a circulating tumour cell."""


@dataclass(frozen=True)
class LabelSchema:
    """Names of the classes, in the order of a model's outputs.

    Attributes:
        name: name of the schema.
        classes: at least two unique names.
        parents: class or parent name -> the name above it; kept with the model for those who read its answers.
        rollups: roll-up name -> the classes whose probabilities add up to it, e.g. 'contains_ctc'.
    """

    name: str
    classes: tuple[str, ...]
    parents: Mapping[str, str] = field(default_factory=dict)
    rollups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_schema(self)

    def index(self, label: str, where: str | Path = "label") -> int:
        """Position of `label` among the classes.

        Raises:
            LabelError: no such class; lists those there are.
        """
        try:
            return self.classes.index(label)
        except ValueError:
            raise LabelError(
                f"label '{label}' is not in the schema '{self.name}'",
                where=where,
                expected=f"one of: {', '.join(self.classes)}",
                fix="correct the label, or give the schema that has it",
            ) from None

    def rollup_mask(self, rollup: str) -> np.ndarray:
        """Boolean mask over the classes, shape (K,), that is true where a class belongs to `rollup`."""
        if rollup not in self.rollups:
            raise LabelError(
                f"schema '{self.name}' has no roll-up '{rollup}'", expected=f"one of: {', '.join(self.rollups)}"
            )
        return np.array([name in self.rollups[rollup] for name in self.classes])

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in a schema's YAML file."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "parents": dict(self.parents),
            "rollups": {name: list(members) for name, members in self.rollups.items()},
        }


def _check_schema(schema: LabelSchema) -> None:
    where = f"label schema '{schema.name}'"
    if len(schema.classes) < 2:
        raise LabelError("has fewer than two classes", where=where, found=", ".join(schema.classes) or "none")
    if len(set(schema.classes)) != len(schema.classes):
        raise LabelError("names a class twice", where=where, found=", ".join(schema.classes))
    if "" in schema.classes or "unassigned" in schema.classes:
        raise LabelError(
            "has a class without a name, or named 'unassigned', which is an answer and no class", where=where
        )
    for rollup, members in schema.rollups.items():
        unknown = sorted(set(members) - set(schema.classes))
        if unknown or not members:
            raise LabelError(
                f"roll-up '{rollup}' names unknown classes or none: {', '.join(unknown)}",
                where=where,
                expected=f"some of: {', '.join(schema.classes)}",
            )
    for start in schema.parents:
        seen, name = set(), start
        while name in schema.parents:
            if name in seen:
                raise LabelError(f"hierarchy runs in a circle at '{name}'", where=where)
            seen.add(name)
            name = schema.parents[name]


def schema_from_labels(labels: Iterable[str], name: str = "from_manifest") -> LabelSchema:
    """Schema of the distinct labels, sorted by name, without hierarchy or roll-ups."""
    return LabelSchema(name, tuple(sorted(set(labels))))


def schema_from_dict(content: Mapping[str, Any], where: str | Path = "label schema") -> LabelSchema:
    """Build a schema from plain data.

    Raises:
        LabelError: keys or values are wrong.
    """
    check_keys(
        content,
        required=("name", "classes"),
        optional=("parents", "rollups", "description", "composition"),
        where=where,
        error=LabelError,
    )
    classes = content["classes"]
    if not isinstance(classes, Sequence) or isinstance(classes, str):
        raise LabelError("classes is no list", where=where, expected="a list of class names", found=str(classes))
    for name in ("parents", "rollups"):
        if not isinstance(content.get(name) or {}, Mapping):
            raise LabelError(f"{name} is no mapping", where=where, found=str(content[name]))
    for name, members in (content.get("rollups") or {}).items():
        if not isinstance(members, list | tuple):
            raise LabelError(f"roll-up '{name}' is no list of classes", where=where, found=str(members))
    rollups = {str(name): tuple(map(str, members)) for name, members in (content.get("rollups") or {}).items()}
    parents = {str(name): str(parent) for name, parent in (content.get("parents") or {}).items()}
    try:
        return LabelSchema(str(content["name"]), tuple(map(str, classes)), parents, rollups)
    except LabelError as error:
        what = error.what if error.where is None else f"{error.where} {error.what}"
        raise LabelError(what, where=where, expected=error.expected, found=error.found, fix=error.fix) from None


def load_schema(name: str | Path) -> LabelSchema:
    """Load a schema by the name of a shipped one or the path of a YAML file.

    Raises:
        LabelError, SettingError: no such schema, or it is malformed.
    """
    path = find_config("labels", name)
    return schema_from_dict(read_yaml_mapping(path, LabelError), where=path)
