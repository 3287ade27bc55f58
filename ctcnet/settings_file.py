"""Reading YAML settings strictly: unknown and missing keys are errors that list both sides."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from ctcnet.errors import CtcnetError, SettingError


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice in one mapping (PyYAML keeps the last silently)."""


def _mapping_without_duplicates(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"key given twice: {', '.join(twice)}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def read_yaml_mapping(path: str | Path, error: type[CtcnetError] = SettingError) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        CtcnetError: of the class `error`; the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"cannot be read ({cause})", where=path, fix="check the path and its permissions") from cause
    except (yaml.YAMLError, RecursionError) as cause:
        raise error(f"is not valid YAML ({cause})", where=path, fix="mend the file at the line named") from cause
    if not isinstance(content, dict):
        raise error("holds no mapping", where=path, expected="key: value lines", found=type(content).__name__)
    return content


def check_keys(
    content: Mapping[str, Any],
    *,
    required: Collection[str],
    optional: Collection[str] = (),
    where: str | Path,
    error: type[CtcnetError] = SettingError,
) -> None:
    """Raise `error` when required keys are missing from `content` or unknown ones stand in it."""
    missing = sorted(set(required) - set(content))
    unknown = sorted(set(map(str, content)) - set(required) - set(optional))
    if missing or unknown:
        problems = [f"{word} {', '.join(keys)}" for word, keys in (("missing", missing), ("unknown", unknown)) if keys]
        raise error(
            f"has wrong keys: {'; '.join(problems)}",
            where=where,
            expected=f"required: {', '.join(sorted(required))}; optional: {', '.join(sorted(optional)) or 'none'}",
            found=", ".join(map(str, content)),
            fix="rename, add or remove the keys named",
        )
