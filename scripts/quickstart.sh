#!/usr/bin/env bash
# The main job from end to end on simulated cells: simulate, train, evaluate, export, classify.
# Usage: bash scripts/quickstart.sh [OUT]      (default OUT: runs/quickstart; an earlier one is replaced)
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment train
export NO_ALBUMENTATIONS_UPDATE=1

out="${1:-runs/quickstart}"
crops="${CTCNET_QUICKSTART_CROPS:-4000}"
ctcnet=.venv/bin/ctcnet
mkdir -p "$out"

step() { printf '\n== %s\n' "$*"; }

step "1/6 Simulating $crops five-class crops (DAPI, CK, CD45, CD66b, CD61)"
"$ctcnet" simulate crops "$out/crops" --count "$crops" --groups 60 --seed 1 --panel ctc5 --overwrite
"$ctcnet" check "$out/crops/manifest.csv" --panel ctc5 --labels five_class
"$ctcnet" pack "$out/crops/manifest.csv" --panel ctc5 --labels five_class -o "$out/store" --overwrite

step "2/6 Training (on a GPU if there is one)"
.venv/bin/python train.py fit --config configs/five_class.yaml --data.manifest "$out/store" \
    --run_dir "$out/run" --overwrite

step "3/6 Exporting to ONNX; checking that its answers match"
"$ctcnet" export "$out/run/best.ckpt" -o "$out/model.onnx" --overwrite

step "4/6 Evaluating on groups never trained on (simulated cells)"
"$ctcnet" evaluate "$out/model.onnx" "$out/crops/manifest.csv" -o "$out/evaluation" --overwrite

step "5/6 Classifying a folder of new crops with the ONNX file"
"$ctcnet" simulate crops "$out/new_crops" --count 200 --seed 2 --panel ctc5 --overwrite
"$ctcnet" classify "$out/model.onnx" "$out/new_crops" -o "$out/predictions.parquet" --overwrite

step "6/6 Done (simulated cells; for research use only)"
echo "Report:      $out/evaluation/report.html"
echo "Model:       $out/model.onnx (card: $out/model.README.md)"
echo "Predictions: $out/predictions.parquet"
