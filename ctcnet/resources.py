"""Files shipped with ctcnet: `configs/` and `models/`, beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from ctcnet.errors import SettingError

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(kind: str) -> Path:
    """Folder of shipped files of one kind: 'configs' or 'models'.

    Raises:
        SettingError: the installation holds no such folder.
    """
    for folder in (_PACKAGE / kind, _PACKAGE.parent / kind):
        if folder.is_dir():
            return folder
    raise SettingError(
        f"this installation of ctcnet has no {kind} folder",
        where=_PACKAGE,
        fix="install ctcnet again from a wheel or a complete checkout",
    )


def find_config(kind: str, name: str | Path) -> Path:
    """Path of a YAML configuration: a file that exists, or the name of a shipped one.

    Args:
        kind: subfolder of `configs`, such as 'panels' or 'labels'; empty for experiments and their overlays.
        name: path of a YAML file, or name of a shipped one without its ending.

    Raises:
        SettingError: neither a file nor a shipped name; lists the shipped names.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    folder = resource_dir("configs") / kind
    shipped = folder / f"{name}.yaml"
    if not path.is_absolute() and ".." not in path.parts and shipped.is_file():
        return shipped
    files = [*folder.glob("*.yaml"), *([] if kind else folder.glob("overlays/*.yaml"))]
    names = ", ".join(sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files))
    raise SettingError(
        f"'{name}' is neither a YAML file nor a name among the shipped {kind or 'experiments'}",
        expected=f"the path of a .yaml file, or one of: {names}",
        fix="check the spelling, or give the path of your own file",
    )
