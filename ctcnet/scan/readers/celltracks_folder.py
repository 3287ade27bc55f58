"""Files of a CellTracks cartridge: its numbered frames, and the records beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.celltracks_record import CartridgeRecord
from ctcnet.scan.readers.celltracks_tables import read_tables
from ctcnet.scan.readers.celltracks_xml import read_xml
from ctcnet.scan.readers.folder_listing import file_names, folder_names
from ctcnet.scan.readers.grey_image import TIFF_ENDINGS

_OTHER_LAYOUTS = re.compile(r"tile\d{6,}\..*|.*-x\d{3,}-y\d{3,}\..*|.*\.ome\.tiff?", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)\D*")
_DEEPEST = 3
"""Folders inside each other in which archives of cartridges put the frames, such as 171651.1.2/processed."""


@dataclass(frozen=True)
class CellTracksFolder:
    """Files of a cartridge.

    Attributes:
        frames: files of the frames, in the order of their names.
        xml, tables: .xml and .dlm files beside the frames, or in a folder above them within the cartridge's.
    """

    frames: tuple[Path, ...]
    xml: tuple[Path, ...]
    tables: tuple[Path, ...]


def list_cartridge(path: Path) -> CellTracksFolder:
    """List a cartridge's folder, going down where it holds nothing but one more folder.

    Raises:
        CartridgeError: a folder cannot be listed.
    """
    folder, records, frames = path, [], []
    for _ in range(_DEEPEST + 1):
        names = file_names(folder)
        records += [folder / name for name in names]
        frames = [folder / name for name in names if _is_frame(name)]
        inner = folder_names(folder)
        if frames or len(inner) != 1:
            break
        folder = folder / inner[0]
    of_kind = {kind: tuple(file for file in records if file.suffix.lower() == kind) for kind in (".xml", ".dlm")}
    return CellTracksFolder(tuple(frames), of_kind[".xml"], of_kind[".dlm"])


def numbered_frames(frames: Sequence[Path], path: Path) -> dict[int, Path]:
    """Number -> file; the number is the last one in the name.

    Raises:
        CartridgeError: there is no frame, a number stands twice, or numbers start below 1.
    """
    if not frames:
        raise CartridgeError(
            "holds no frame", where=path, expected="TIFF files with a number at the end of their names"
        )
    numbered: dict[int, Path] = {}
    for file in frames:
        found = _LAST_NUMBER.search(file.stem[::-1])
        number = int(found.group(1)[::-1]) if found else 0
        if number in numbered:
            raise CartridgeError(
                f"holds frame {number} twice",
                where=path,
                found=f"{numbered[number].name} and {file.name}",
                fix="keep the frames of one cartridge in its folder",
            )
        numbered[number] = file
    if 0 in numbered:
        raise CartridgeError(
            "holds a frame with the number 0", where=path, expected="numbers from 1", found=numbered[0].name
        )
    return numbered


def read_record(folder: CellTracksFolder, path: Path) -> CartridgeRecord | None:
    """The record of a cartridge, from its XML file or else its tables; None where there is none.

    Raises:
        CartridgeError: a record is malformed, or there are several.
    """
    records = [record for record in map(read_xml, folder.xml) if record is not None]
    if len(records) > 1:
        raise CartridgeError(
            "holds several records",
            where=path,
            expected="one XML file",
            found=", ".join(record.path.name for record in records),
            fix="keep the one of this cartridge",
        )
    return records[0] if records else read_tables(folder.tables)


def _is_frame(name: str) -> bool:
    is_tiff = name.lower().endswith(TIFF_ENDINGS)
    return is_tiff and any(map(str.isdigit, name)) and _OTHER_LAYOUTS.fullmatch(name) is None
