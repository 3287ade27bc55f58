# Sourced by the other scripts: makes .venv with the extras named in $1 and reuses it while pyproject.toml stays the same.

make_environment() {
    local extras="$1" stamp
    stamp=".venv/.ctcnet-${extras//,/-}-$(sha256sum pyproject.toml | cut -c1-16)"
    if [ -e "$stamp" ]; then
        echo "Reusing .venv"
        return
    fi
    local python="${PYTHON:-python3}"
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "error: Python 3.11 or newer is needed; set PYTHON to its path" >&2
        return 2
    fi
    echo "Installing ctcnet[$extras] into .venv (about 6 GB with PyTorch's CUDA packages; 2 to 4 minutes)"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --progress-bar on -e ".[$extras]"
    touch "$stamp"
}
