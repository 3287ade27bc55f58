import pytest
import torch

from ctcnet.errors import ModelFileError, OutputError
from ctcnet.training.checkpoint import check_weights, whole_checkpoint

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("cause", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 12 vs 4")])
def test_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, cause):
    path = tmp_path / "last.ckpt"
    path.write_text("old")

    def write():
        with whole_checkpoint(path) as part:
            part.write_text("half")
            raise cause

    with pytest.raises(OutputError, match="could not be written"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_are_compared_by_name_and_shape():
    wanted = {"a": torch.zeros(2), "b": torch.zeros(3)}
    check_weights({"a": torch.ones(2), "b": torch.ones(3)}, wanted, "x.ckpt")
    for found in ({"a": torch.ones(2)}, {**wanted, "c": torch.ones(1)}, {**wanted, "a": torch.ones(4)}, None, {"a": 1}):
        with pytest.raises(ModelFileError, match=r"x\.ckpt"):
            check_weights(found, wanted, "x.ckpt")
