#!/usr/bin/env bash
# Linters, types, import contracts, all tests, and the wheel outside the checkout. At most 15 minutes on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment all,dev
make_node_packages
export NO_ALBUMENTATIONS_UPDATE=1 PYRIGHT_PYTHON_IGNORE_WARNINGS=1

bin=.venv/bin
echo "== ruff";          "$bin/ruff" check .; "$bin/ruff" format --check .
echo "== pyright";       "$bin/pyright"
echo "== import-linter"; "$bin/lint-imports"
echo "== wheel";         bash scripts/check_wheel.sh
# One thread for each of two processes: together they use both cores, and neither waits for the other's.
echo "== pytest";        OMP_NUM_THREADS=1 "$bin/python" -m pytest -n 2 --dist loadfile "$@"
