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

# Packages of the examples for Node.js; without npm their tests are skipped. Their install scripts fetch CUDA libraries.
make_node_packages() {
    local folder=scripts/examples/node stamp
    if ! command -v npm >/dev/null; then
        echo "npm is not installed: tests of the examples for Node.js are skipped"
        return
    fi
    stamp="$folder/node_modules/.ctcnet-$(sha256sum $folder/package.json | cut -c1-16)"
    if [ -e "$stamp" ]; then
        echo "Reusing $folder/node_modules"
        return
    fi
    echo "Installing onnxruntime for Node.js and WebAssembly into $folder/node_modules (430 MB)"
    if ! npm install --prefix "$folder" --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error; then
        echo "npm could not install them: tests of the examples for Node.js are skipped"
        return
    fi
    touch "$stamp"
}
