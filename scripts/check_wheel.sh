#!/usr/bin/env bash
# Builds the wheel, installs it outside the checkout and runs every verb: first with the base dependencies alone,
# then with the training packages of .venv beside them.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" .
"${PYTHON:-python3}" -m venv "$work/base"
"$work/base/bin/python" -m pip install --quiet --disable-pip-version-check "$work"/ctcnet-*.whl
cd "$work"
ctcnet="$work/base/bin/ctcnet"
heavy="$("$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"

fails_naming_the_command() {
    local output code=0
    output="$("$ctcnet" "$@" 2>&1)" || code=$?
    [ "$code" -eq 2 ] && grep -qE 'pip install "ctcnet\[(train|scan|sign)\]"' <<<"$output" && return 0
    printf 'error: "ctcnet %s" without its extra exited %s and printed:\n%s\n' "$*" "$code" "$output" >&2
    return 1
}

# With the training packages (the wheel's own ctcnet, not the checkout's: .pth files are not read from PYTHONPATH).
with_training() { PYTHONPATH="$heavy" NO_ALBUMENTATIONS_UPDATE=1 "$@"; }
PYTHONPATH="$heavy" "$work/base/bin/python" -c "import ctcnet, sys; assert ctcnet.__file__.startswith('$work'), ctcnet.__file__"
with_training "$ctcnet" simulate crops crops --count 200 --groups 10 --seed 0 --panel ctc5
with_training "$ctcnet" train fit --config five_class --data.manifest crops/manifest.csv --run_dir run \
    --trainer.max_epochs 1 --trainer.enable_progress_bar false
with_training "$ctcnet" export run/best.ckpt -o model.onnx
with_training "$ctcnet" simulate cartridge cartridge --layout celltracks --frames 2 --nuclei-per-frame 20 --seed 0 \
    --panel ctc5 --frame-size-px 384x320
with_training "$ctcnet" scan cartridge --model model.onnx -o results --device cpu --panel ctc5
test -s results/cartridge/report.html
with_training "$ctcnet" export ctcnet-s --panel ctc5 -o shipped.onnx
with_training "$ctcnet" classify ctcnet-s crops/manifest.csv --panel ctc5 -o shipped.csv
with_training "$work/base/bin/python" - <<'IMAGE'
import numpy as np
import tifffile

y, x = np.mgrid[-30:30, -30:30]
cells = np.tile(2000.0 * (np.hypot(y, x) < 8), (8, 8))
counts = np.random.default_rng(0).poisson(100, (5, 480, 480)) + np.multiply.outer([0, 1, 0.02, 0, 0], cells)
tifffile.imwrite("only_ck.tif", counts.astype(np.uint16), photometric="minisblack")
IMAGE
with_training "$ctcnet" spillover --panel ctc5 CK=only_ck.tif -o spillover.yaml
with_training "$ctcnet" verify model.onnx --against run/best.ckpt
with_training "$ctcnet" sign --new-key laboratory
with_training "$ctcnet" sign model.onnx --key laboratory.pem
with_training "$ctcnet" verify model.onnx --key laboratory.pub.pem
with_training "$ctcnet" card run/best.ckpt
with_training "$ctcnet" evaluate model.onnx crops/manifest.csv -o evaluation --bootstrap 50

# With the base dependencies alone.
"$ctcnet" --version
"$ctcnet" check crops/manifest.csv --panel ctc5 --labels five_class
"$ctcnet" pack crops/manifest.csv --panel ctc5 --labels five_class -o store
"$ctcnet" verify model.onnx
"$ctcnet" card model.onnx
"$ctcnet" card ctcnet-s --json
"$ctcnet" classify model.onnx store -o predictions.parquet
"$ctcnet" classify model.onnx crops/manifest.csv -o predictions.csv
fails_naming_the_command simulate crops more --count 10 --seed 0
fails_naming_the_command train fit --config five_class
fails_naming_the_command scan cartridge --model model.onnx -o other
fails_naming_the_command simulate cartridge more --layout celltracks --frames 2 --nuclei-per-frame 20 --seed 0
fails_naming_the_command export run/best.ckpt -o other.onnx
fails_naming_the_command verify model.onnx --against run/best.ckpt
fails_naming_the_command sign --new-key other
fails_naming_the_command evaluate model.onnx crops/manifest.csv -o other
fails_naming_the_command card run/best.ckpt
fails_naming_the_command spillover --panel ctc5 CK=only_ck.tif -o other.yaml
fails_naming_the_command classify run/best.ckpt store -o other.parquet
fails_naming_the_command classify ctcnet-s store -o other.parquet
echo "The wheel runs every verb outside the checkout."
