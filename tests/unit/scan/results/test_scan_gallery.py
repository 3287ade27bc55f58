"""Pictures of the report's gallery."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ctcnet.panel import Panel
from ctcnet.scan.results import gallery
from ctcnet.scan.results.gallery import contrasts, gallery_rows, merge_legend, pictures

pytestmark = pytest.mark.unit

BACKGROUND, SCALE = np.array([100.0, 20.0, 50.0]), np.array([400.0, 30.0, 200.0])


def decode(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


def test_called_and_reviewed_events_come_first_then_the_most_probable(make_columns: Callable) -> None:
    columns = make_columns()
    rows = gallery_rows(columns, ("ctc",))
    first = (columns["label"][rows] == "ctc") & ~columns["unassigned"][rows] | columns["review"][rows]
    assert np.all(np.diff(first.astype(int)) <= 0)
    for part in (rows[first], rows[~first]):
        assert np.all(np.diff(columns["p_contains_ctc"][part]) <= 0)


def test_cells_of_a_counted_cluster_are_left_to_it(make_columns: Callable) -> None:
    columns = make_columns(100)
    rows = gallery_rows(columns, ("ctc",))
    assert sorted(rows.tolist()) == np.flatnonzero(columns["counted"]).tolist()
    assert len(rows) == 98


def test_at_most_500_events_are_shown(make_columns: Callable) -> None:
    rows = gallery_rows(make_columns(800), ("ctc",))
    assert len(rows) == len(set(rows.tolist())) == 500


def test_black_is_background_and_white_is_stated(panel: Panel) -> None:
    drawn = contrasts(panel, BACKGROUND, SCALE, np.zeros((0, 3, 8, 8), np.uint16))
    assert [entry.black for entry in drawn] == [100, 20, 50]
    assert [entry.white for entry in drawn] == [900, 260, 450]
    assert drawn[1].sentence == "CK: black 20, white 260 counts"


def test_channel_without_levels_is_drawn_from_the_events_and_says_so(panel: Panel) -> None:
    crops = np.full((2, 3, 8, 8), 30, np.uint16)
    crops[0, 1, :4] = 1000
    drawn = contrasts(panel, BACKGROUND, np.array([400, np.nan, 200]), crops)
    assert (drawn[1].black, drawn[1].white) == (30, 1000)
    assert "events shown" in drawn[1].sentence


def test_same_counts_give_the_same_grey_in_every_picture(panel: Panel) -> None:
    crops = np.zeros((2, 3, 8, 8), np.uint16)
    crops[:] = np.array([500, 140, 250])[:, None, None]
    crops[1, :, 0, 0] = 4095
    shown = pictures(crops, panel, contrasts(panel, BACKGROUND, SCALE, crops))
    for channel in range(3):
        first, second = (decode(picture.channels[channel]) for picture in shown)
        assert first[4, 4] == second[4, 4] == pytest.approx(127.5, abs=5)
        assert second[0, 0] == 255


def test_merge_adds_the_colours_of_the_roles(panel: Panel) -> None:
    crops = np.zeros((1, 3, 8, 8), np.uint16)
    crops[0] = BACKGROUND[:, None, None]
    crops[0, 0, 0, 0], crops[0, 1, 0, 1] = 4000, 4000
    (picture,) = pictures(crops, panel, contrasts(panel, BACKGROUND, SCALE, crops))
    merge = decode(picture.merge)
    assert merge[0, 0] == pytest.approx([70, 110, 255], abs=5)
    assert merge[0, 1] == pytest.approx([255, 150, 0], abs=5)
    assert merge[5, 5].tolist() == [0, 0, 0]
    assert merge_legend(panel)[0] == ("DAPI", "rgb(70,110,255)")


def test_bytes_are_bounded(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MOST_BYTES", 60_000)
    crops = np.random.default_rng(0).integers(0, 1000, (50, 3, 64, 64)).astype(np.uint16)
    shown = pictures(crops, panel, contrasts(panel, BACKGROUND, SCALE, crops))
    size = sum(len(uri) for picture in shown for uri in (*picture.channels, picture.merge))
    assert 0 < len(shown) < 50
    assert size <= 60_000
    assert [picture.row for picture in shown] == list(range(len(shown)))


def test_large_crops_are_made_small(panel: Panel) -> None:
    crops = np.zeros((1, 3, 200, 200), np.uint16)
    (picture,) = pictures(crops, panel, contrasts(panel, BACKGROUND, SCALE, crops))
    assert decode(picture.merge).shape == (72, 72, 3)
