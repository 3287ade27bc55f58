import json

import pytest

from ctcnet.contract.fields import FIELDS, card_properties, fields_table
from ctcnet.resources import resource_dir

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("graph", FIELDS)
def test_table_in_the_readme_is_the_list_in_the_code(graph):
    text = (resource_dir("models") / "README.md").read_text(encoding="utf-8")
    table = text.partition(f"<!-- fields: {graph} -->\n")[2].partition("<!-- end -->")[0]
    assert table == fields_table(graph)


@pytest.mark.parametrize("graph", FIELDS)
def test_names_are_unique(graph):
    names = [field.name for field in FIELDS[graph]]
    assert len(set(names)) == len(names)


def test_card_is_repeated_field_by_field(two_channel_card):
    properties = card_properties(two_channel_card, "crop")
    assert properties["panel"] == "DAPI,CK"
    assert properties["roles"] == "nucleus,epithelial"
    assert float(properties["pixel_size_um"]) == 0.5
    assert json.loads(properties["training_prior"]) == [0.2] * 5
    assert json.loads(properties["thresholds"]) == {"unassigned_below": 0.3}
    assert json.loads(properties["ctcnet_card"]) == two_channel_card.to_dict()
