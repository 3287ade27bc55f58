"""From a checkpoint to an ONNX file to a table of classes, all through the command line."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from untrained_checkpoint import write_untrained_checkpoint

from ctcnet.cli import main
from ctcnet.runtime import OnnxPredictor, SessionSettings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "crops"
    assert main(["simulate", "crops", str(out), "--count", "24", "--groups", "6", "--seed", "0"]) == 0
    return out / "manifest.csv"


@pytest.mark.parametrize(
    ("backbone", "mode", "dtype", "size_px"),
    [("compact", "cartridge", "uint16", 64), ("resnet18", "per_crop", "float32", 32)],
)
def test_onnx_file_gives_the_table_of_the_checkpoint(manifest, tmp_path, capsys, backbone, mode, dtype, size_px):
    kind = {"backbone": backbone, "mode": mode, "sharpness": 4, "unassigned_below": 0.4}
    write_untrained_checkpoint(tmp_path / "best.ckpt", size_px, **kind)
    model = tmp_path / "model.onnx"
    assert main(["export", str(tmp_path), "-o", str(model), "--input-dtype", dtype]) == 0
    printed = capsys.readouterr()
    assert "worst difference" in printed.out
    assert printed.err == ""
    none = OnnxPredictor(model, SessionSettings(threads=1)).predict(np.zeros((0, 5, size_px, size_px), dtype))
    assert [len(answer) for answer in none] == [0] * 4
    tables = []
    for source in (tmp_path / "best.ckpt", model):
        out = tmp_path / f"{source.suffix[1:]}.parquet"
        assert main(["classify", str(source), str(manifest), "-o", str(out), "--device", "cpu"]) == 0
        tables.append(parquet.read_table(out))
    first, second = tables
    assert first.num_rows == 24
    assert first["path"].equals(second["path"])
    assert set(first["levels"].to_pylist()) == {mode}
    assert second["levels"].equals(first["levels"])
    names = [name for name in first.column_names if name.startswith("p_")]
    p, q = (np.stack([table[name].to_numpy() for name in names], axis=1) for table in tables)
    np.testing.assert_allclose(p, q, atol=1e-4)
    assert p.std(axis=0).max() > 0.02, "answers that do not depend on the crops would prove nothing"
    assert OnnxPredictor(model, SessionSettings(threads=1)).input_dtype == np.dtype(dtype)
    capsys.readouterr()
    assert main(["verify", str(model), "--against", str(tmp_path)]) == 0
    assert "parity:" in capsys.readouterr().out
    write_untrained_checkpoint(tmp_path / "other.ckpt", size_px, **kind, seed=1)
    assert main(["verify", str(model), "--against", str(tmp_path / "other.ckpt")]) == 1
    assert "does not give the checkpoint's probabilities" in capsys.readouterr().out
