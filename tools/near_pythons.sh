#!/bin/sh
# Try the near side on each Python that it may have: what a program starts with, in an environment of its own each.
# Usage: tools/near_pythons.sh FOLDER JOBS VERSION...     FOLDER/near-3.12 and the like are the environments
# The version of FOLDER's own Python is left out: `make test` runs there. One that isn't on this machine, on PATH or in
# pyenv's folder, is named at the end; with PLASMID_TEST_REQUIRE=all that is a failure.
set -u
folder=$1
jobs=$2
shift 2

# Boot, calls, services, streams, modules that follow, programs and Ctrl-C; by ssh and two levels down they are the
# far side's matter, which runs on every Python with `make test`.
tests="tests/real/test_calls.py tests/real/test_services.py tests/real/test_streams.py tests/real/test_modules.py
  tests/real/test_programs.py tests/real/test_interrupts.py tests/real/test_joining.py tests/connect/test_process.py"
which="not ssh and not deep and not another_user"

find_python() {
    search=$PATH
    for bin in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin; do
        search=$search:$bin
    done
    IFS=:
    for bin in $search; do
        # A launcher may be there for a version that isn't, so each is run.
        if "$bin/python$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$bin/python$1"
            return
        fi
    done
}

own=$("$folder/bin/python" -c "import sys; print('%d.%d' % sys.version_info[:2])" 2>/dev/null)
status=0
tried=
missing=
for version in "$@"; do
    [ "$version" != "$own" ] || continue
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        missing="$missing $version"
        continue
    fi
    echo "the near side on Python $version: $python"
    tried="$tried $version"
    venv=$folder/near-$version
    if [ ! -e "$venv/.has-near" ] || [ pyproject.toml -nt "$venv/.has-near" ]; then
        PYTHON=$python tools/venv.sh "$venv" near && touch "$venv/.has-near" || status=1
    fi
    "$venv/bin/python" -m pytest -q -n "$jobs" --dist worksteal -k "$which" $tests || status=1
done
echo "the near side was tried on Python$tried; \`make test\` tries it on ${own:-the one it finds}"
if [ -n "$missing" ]; then
    echo "not on this machine: Python$missing"
    [ "${PLASMID_TEST_REQUIRE:-}" != all ] || status=1
fi
exit $status
