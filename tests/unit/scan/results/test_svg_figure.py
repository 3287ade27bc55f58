"""Figures as inline SVG."""

import pytest
from defusedxml import ElementTree
from matplotlib.figure import Figure

from ctcnet.svg_figure import svg_text

pytestmark = pytest.mark.unit


def test_a_title_with_quotes_stays_text():
    title = 'CK" onload="alert(1) & <b> against CD45'
    root = ElementTree.fromstring(svg_text(Figure(), title))
    assert root.get("aria-label") == title
    assert root.get("onload") is None
