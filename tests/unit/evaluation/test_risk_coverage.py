import numpy as np
import pytest

from ctcnet.evaluation.risk_coverage import area_under_risk_coverage, risk_coverage

pytestmark = pytest.mark.unit


def test_curve_and_area_by_hand():
    coverage, risk = risk_coverage(np.array([0.9, 0.5, 0.8, 0.6]), np.array([True, False, True, False]))
    assert coverage == pytest.approx([0.25, 0.5, 0.75, 1])
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 2])
    area = area_under_risk_coverage(np.array([0.9, 0.5]), np.array([True, False]))
    assert area == pytest.approx(0.25)


def test_order_of_ties_is_immaterial():
    correct = np.array([True, True, False, False, True])
    flat = np.full(5, 0.7)
    assert area_under_risk_coverage(flat, correct) == pytest.approx(area_under_risk_coverage(flat, correct[::-1]))
    assert risk_coverage(flat, correct)[1] == pytest.approx(np.full(5, 0.4))
