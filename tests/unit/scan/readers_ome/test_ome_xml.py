"""What an OME-XML says."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.errors import CartridgeError
from ctcnet.scan.readers.ome_xml import OmePlane, parse_ome_xml

pytestmark = pytest.mark.unit
HERE = Path("a.ome.tif")
OWN = "urn:uuid:00000000-0000-4000-8000-000000000001"
ALL = '<TiffData IFD="0" PlaneCount="3"/>'


def test_names_sizes_and_lengths(ome) -> None:
    (image,) = parse_ome_xml(ome.document(ome.image(0, (3, 40, 50), ALL, position_um=(1500.0, -20.0))), HERE)
    assert image.channel_names == ("CD45", "DAPI", "CK")
    assert (image.height_px, image.width_px, image.significant_bits) == (40, 50, 12)
    assert image.pixel_size_um == 0.5
    assert image.position_um == pytest.approx((1500.0, -20.0))
    assert image.planes == (OmePlane(None, 0), OmePlane(None, 1), OmePlane(None, 2))


@pytest.mark.parametrize(("unit", "size"), [("nm", 500), ("mm", 0.0005), ("µm", 0.5), ("μm", 0.5), ("Å", 5000)])
def test_units_of_the_pixel_size(ome, unit: str, size: float) -> None:
    pixels = f'Type="uint16" PhysicalSizeX="{size}" PhysicalSizeXUnit="{unit}"'
    (image,) = parse_ome_xml(ome.document(ome.image(0, (3, 4, 5), ALL, pixels=pixels)), HERE)
    assert image.pixel_size_um == pytest.approx(0.5)


def test_a_position_in_a_reference_frame_is_none(ome) -> None:
    for unit in ("", 'PositionXUnit="reference frame" PositionYUnit="reference frame"'):
        (image,) = parse_ome_xml(ome.document(ome.image(0, (3, 4, 5), ALL, position_um=(1, 2), unit=unit)), HERE)
        assert image.position_um is None


def test_a_name_that_is_lacking_leaves_all_without(ome) -> None:
    (image,) = parse_ome_xml(ome.document(ome.image(0, (3, 4, 5), ALL, names=("CD45", None, "CK"))), HERE)
    assert image.channel_names == ()


def test_planes_of_other_files_and_of_the_file_itself(ome) -> None:
    data = (
        '<TiffData FirstC="1" IFD="4"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
        '<TiffData FirstC="0" IFD="2"><UUID FileName="old name.ome.tif">' + OWN + "</UUID></TiffData>"
    )
    (image,) = parse_ome_xml(ome.document(ome.image(0, (3, 4, 5), data)), HERE)
    assert image.planes == (OmePlane(None, 2), OmePlane("b.ome.tif", 4), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('SizeZ="1"', 'SizeZ="3"'), "several sections"),
        (('SizeT="1"', 'SizeT="2"'), "several sections"),
        (('SizeX="5"', 'SizeX="five"'), "no number"),
        (('SizeX="5"', ""), "no number"),
        (('SizeX="5"', 'SizeX="0"'), "impossible sizes"),
        (('PhysicalSizeY="0.5"', 'PhysicalSizeY="0.6"'), "not square"),
        (("</OME>", ""), "malformed"),
        (('IFD="0"', 'IFD="-1"'), "channel that there is not"),
        (("<TiffData", '<TiffData FirstC="7"'), "channel that there is not"),
        (("<OME ", '<!DOCTYPE OME [<!ENTITY a "b">]><OME '), "document type"),
    ],
)
def test_what_is_refused(ome, change: tuple[str, str], message: str) -> None:
    text = ome.document(ome.image(0, (3, 4, 5), ALL))
    assert change[0] in text
    with pytest.raises(CartridgeError, match=message):
        parse_ome_xml(text.replace(*change), HERE)


def test_no_image(ome) -> None:
    with pytest.raises(CartridgeError, match="without an image"):
        parse_ome_xml(ome.document(), HERE)


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with pytest.raises(CartridgeError):
        parse_ome_xml(text, HERE)


@given(st.data())
def test_damaged_xml_is_parsed_or_refused(ome, data: st.DataObject) -> None:
    text = ome.document(ome.image(0, (3, 4, 5), ALL, position_um=(1, 2)))
    start = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(1, 30))
    damaged = text[:start] + data.draw(st.text(max_size=5)) + text[start + length :]
    with suppress(CartridgeError):  # anything else would be a traceback to the user
        parse_ome_xml(damaged, HERE)
