import base64
import io

import numpy as np
import pytest
from PIL import Image
from scored_factory import make_scored

from ctcnet.evaluation.gallery import make_galleries, worst_mistakes
from ctcnet.panel import Channel, Panel

pytestmark = pytest.mark.unit
PANEL = Panel("two", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial")), 12)


def _decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_worst_come_first_and_only_mistakes():
    scored = make_scored(300, signal=1.0)
    for label, rows in worst_mistakes(scored, 4).items():
        assert len(rows) == 4
        assert (scored.truth[rows] == label).all()
        assert (scored.called[rows] != label).all()
        p = scored.probabilities[rows, label]
        assert (np.diff(p) >= 0).all()


def test_pictures_share_one_scale_and_use_the_levels_given():
    scored = make_scored(60, signal=0.5)

    def read(rows: np.ndarray) -> np.ndarray:
        crops = np.full((len(rows), 2, 8, 8), 100, dtype=np.uint16)
        crops[:, :, 2:6, 2:6] = 100 + 200 * (1 + rows[:, None, None, None] % 2)
        return crops

    galleries, white = make_galleries(scored, read, np.full(2, 100.0), np.full(2, 100.0), PANEL, per_class=3)
    assert white == ["DAPI: 4", "CK: 4"]
    assert sum(len(g.mistakes) for g in galleries) <= 15
    for gallery in galleries:
        assert gallery.total >= len(gallery.mistakes)
        for mistake in gallery.mistakes:
            picture = _decode(mistake.channels[0])
            odd = int(mistake.path[6:11]) % 2
            assert picture.min() == 0
            assert picture.max() == (255 if odd else 128)


def test_levels_not_stated_are_the_crops_own():
    scored = make_scored(60, signal=0.5)
    galleries, white = make_galleries(
        scored,
        lambda rows: np.full((len(rows), 2, 8, 8), 500, np.uint16),
        np.full(2, np.nan),
        np.full(2, np.nan),
        PANEL,
    )
    assert galleries
    assert white == ["DAPI: 1", "CK: 1"]


def test_no_mistakes_no_galleries():
    scored = make_scored(40, signal=60.0)
    assert make_galleries(scored, lambda rows: np.zeros((0,)), np.zeros(2), np.ones(2), PANEL) == ([], [])
