#!/bin/sh
# Make a virtual environment and install Plasmid in it, editable, so that later changes to src/ need no new run.
# Usage: tools/venv.sh FOLDER [EXTRA]     EXTRA: test, dev or bench, as in pyproject.toml
# Needs a Python of 3.10 or newer and a package index that pip can reach; uses uv instead of pip where it's on PATH.
set -eu
folder=$1
extra=${2:-}
what=.${extra:+[$extra]}

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        # A name that exists may still be a launcher for a version that isn't there, so each one is run.
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Plasmid's near side needs Python 3.10 or newer. None was found as ${PYTHON:-python3 or python3.10 to python3.13}." >&2
    echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
    return 1
}

if [ ! -x "$folder/bin/python" ]; then
    python=$(find_python)
    if ! "$python" -m venv "$folder"; then
        rm -rf "$folder"
        echo "\`$python -m venv\` failed. On Debian and Ubuntu it comes in a package of its own: apt-get install python3-venv" >&2
        exit 1
    fi
fi

# uv doesn't read pip's configuration, so where only pip knows the way to an index, uv fails and pip follows.
if command -v uv >/dev/null 2>&1 && uv pip install --quiet --python "$folder/bin/python" --editable "$what" 2>/dev/null; then
    exit 0
fi
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$what"
