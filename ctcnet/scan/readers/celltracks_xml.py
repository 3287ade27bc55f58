"""The XML file that the CellTracks Analyzer's software writes beside the frames of a cartridge."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.celltracks_record import CartridgeRecord, RecordedEvent, recorded_event, run_sizes


def read_xml(path: Path) -> CartridgeRecord | None:
    """Read a cartridge's XML; None where it is sound but of something else, without runs/record.

    Entities are not expanded and nothing outside the file is loaded.

    Raises:
        CartridgeError: the file cannot be read, is malformed, or its run lacks a size.
    """
    root = _parse(path)
    runs = root.findall(".//runs/record")
    if not runs:
        return None
    if len(runs) > 1:
        raise CartridgeError(
            "records several runs",
            where=path,
            expected="one run of one cartridge",
            found=f"{len(runs)} runs",
            fix="export each run by itself",
        )
    sizes = run_sizes(_fields(runs[0]), path)
    names = [_text(element) for element in root.findall(".//test_filters/record/filtername")]
    events, unread = _events(root.findall(".//events/record"))
    return CartridgeRecord(
        path=path,
        rows=sizes["numrows"],
        columns=sizes["numcols"],
        camera_px=(sizes["camxsize"], sizes["camysize"]),
        filter_names=tuple(names),
        events=events,
        unread_events=unread,
    )


def _parse(path: Path) -> Element:
    try:
        return fromstring(path.read_bytes(), forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except OSError as cause:
        raise CartridgeError(f"cannot be read ({cause.strerror})", where=path, fix="check its permissions") from cause
    except DefusedXmlException as cause:
        raise CartridgeError(
            "declares entities, which a scanner's file never does, and is not read", where=path, fix="move it away"
        ) from cause
    except (ParseError, ValueError, LookupError) as cause:  # LookupError: an encoding that does not exist
        raise CartridgeError(
            f"is malformed XML ({cause})",
            where=path,
            fix="copy it again, or move it away: then the frames are scanned without the record",
        ) from cause


def _fields(record: Element) -> dict[str, str]:
    return {child.tag.casefold(): _text(child) for child in record}


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _events(records: Iterable[Element]) -> tuple[tuple[RecordedEvent, ...], int]:
    read = [recorded_event(_fields(record)) for record in records]
    events = tuple(event for event in read if event is not None)
    return events, len(read) - len(events)
