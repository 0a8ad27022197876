"""Data and metadata of packages that were sent, on every Python, by every way that it has to them."""

import logging
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.real import far_modules, far_packages, interpreters
from tests.real.conftest import DEEP, LOCAL, connect

pytestmark = pytest.mark.real

SECRET = "FileNotFoundError: [Errno 2] No such file among the data that was declared: '/<sent>%s/firm_data/secret.txt'"
NOT_ALLOWED = (
    "No package metadata was found for rich: this context may have none of its packages (rich); to send it "
    "nevertheless, name one in allow_modules= of the Router: allow_modules=['rich']"
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with an installed distribution `firm-data`, and a package `own` that is nobody's."""
    files = {
        "firm_data/__init__.py": '"""Has data."""\n',
        "firm_data/greeting.txt": "hello",
        "firm_data/deep/below.txt": "deep",
        "firm_data/secret.txt": "not listed",
        "above.txt": "outside",
        "firm_data-2.5.dist-info/METADATA": "Name: firm-data\nVersion: 2.5\nRequires-Dist: x>1\n\n",
        "firm_data-2.5.dist-info/entry_points.txt": "[firm.plugins]\nfirst = firm_data:__name__\n",
        "firm_data-2.5.dist-info/RECORD": "firm_data/__init__.py,,\nfirm_data/greeting.txt,sha256=x,5\n"
        '"firm_data/deep/below.txt",,\nfirm_data-2.5.dist-info/METADATA,,\n',
        "own/__init__.py": "",
        "own/page.html": "<p>",
        "own/.hidden": "",
        "own/key.pem": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.features("package data, metadata")
@pytest.mark.parametrize("version", interpreters.SUPPORTED)
def test_declared_data_and_metadata_are_there_on_every_python(  # U4
    router: plasmid.Router, site: Path, version: str
) -> None:
    context = router.local(python_path=interpreters.interpreter(version))
    number = context.call(far_packages.version)
    assert context.call(far_packages.by_pkgutil, "greeting.txt") == b"hello"
    assert context.call(far_packages.by_pkgutil, "deep/below.txt") == b"deep"
    assert context.call(far_packages.by_pkgutil, "secret.txt") == SECRET % site
    if [3, 7] <= number < [3, 13]:
        listed = [["__init__.py", "deep", "greeting.txt"], [False, True, False]]
        assert context.call(far_packages.by_older_resources) == ["hello", *listed, b"hello", "hello"]
    if number >= [3, 9]:
        assert context.call(far_packages.by_files) == [
            ["__init__.py", "deep", "greeting.txt"],
            "deep",
            [True, False, False],
            b"deep",
            "hello",
            f"ValueError: /<sent>{site}/firm_data/deep/../../above.txt is not in the package",
            "FileNotFoundError: [Errno 2] No such file among the data that was declared: "
            f"'/<sent>{site}/firm_data/nowhere/at/all'",
        ]
    if number >= [3, 8]:
        metadata = context.call(far_packages.by_metadata)
        nowhere = "nowhere_at_all" if number < [3, 10] else "No package metadata was found for nowhere_at_all"
        assert metadata == [
            ["2.5", "2.5", ["x>1"]],
            [["first", "firm_data"]],
            [True, NOT_ALLOWED],
            [True, nowhere],
            "firm_data",
        ]


@pytest.mark.parametrize("way", [DEEP])
def test_data_and_metadata_come_through_a_context_between(context: plasmid.Context, site: Path) -> None:  # U4
    assert context.call(far_packages.by_pkgutil, "deep/below.txt") == b"deep"
    assert context.call(far_packages.by_pkgutil, "secret.txt") == SECRET % site
    assert context.call(far_packages.by_files)[:2] == [["__init__.py", "deep", "greeting.txt"], "deep"]
    assert context.call(far_packages.by_metadata)[:2] == [["2.5", "2.5", ["x>1"]], [["first", "firm_data"]]]


def test_each_link_of_a_chain_carries_a_file_once(
    router: plasmid.Router, site: Path, caplog: pytest.LogCaptureFixture
) -> None:  # U4
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "plasmid.audit")
    (site / "firm_data" / "greeting.txt").write_text("hello" * 1000)
    upper = router.local(name="upper")
    lower = router.local(name="lower", via=upper)
    for hop in (upper, lower):
        hop.call(far_modules.log_audit)
    leaves = [router.local(name=f"leaf{number}", via=lower) for number in range(3)]
    calls = [leaf.call_async(far_packages.by_pkgutil, "greeting.txt") for leaf in leaves]
    assert {call.result() for call in calls} == {b"hello" * 1000}
    assert upper.call(far_packages.by_pkgutil, "greeting.txt") == b"hello" * 1000
    for hop in (lower, upper):
        hop.shutdown()  # what it logged has come by then
    for logger, sizes in (("plasmid.audit", 1), ("plasmid.ctx.upper", 1), ("plasmid.ctx.lower", 3)):
        texts = [record.getMessage() for record in caplog.records if record.name == logger]
        carried = [text for text in texts if "sent data of 'firm_data'" in text and not text.endswith(" 0 bytes")]
        assert len(carried) == sizes, logger


def test_of_a_package_that_was_not_installed_the_options_name_the_data(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:  # U4
    with plasmid.Router(allow_modules=["own"]) as router:
        assert router.local().call(far_packages.folder_of, "own") == ["__init__.py"]
    with plasmid.Router(allow_modules=["own"], allow_data=["own:*.html"]) as router:
        caplog.set_level(logging.INFO, "plasmid.audit")
        assert router.local().call(far_packages.folder_of, "own") == ["__init__.py", "page.html"]
    with plasmid.Router(allow_modules=["own"], allow_data=["own"]) as router:
        assert router.local().call(far_packages.folder_of, "own") == ["__init__.py", "key.pem", "page.html"]


def test_each_context_may_have_options_of_its_own(
    request: pytest.FixtureRequest, router: plasmid.Router, site: Path
) -> None:  # U4
    def folder(context: plasmid.Context) -> Any:
        try:
            return context.call(far_packages.folder_of, "own")
        except ImportError as error:
            return str(error)

    options: dict[str, Any] = {"allow_modules": ["own"], "allow_data": ["own:page.*"]}
    assert folder(connect(request, router, LOCAL, "a", **options)) == ["__init__.py", "page.html"]
    refusal = "No module named 'own': this context was not asked to run anything that imports it; to send it "
    refusal += "nevertheless, name it in allow_modules= of the Router: allow_modules=['own']"
    assert folder(connect(request, router, LOCAL, "b")).startswith(refusal)
    denied = "No module named 'own': deny_modules= of the Router names it"
    assert folder(connect(request, router, LOCAL, "c", deny_modules=["own"], **options)).startswith(denied)
    # One below another, and started by that.
    assert folder(connect(request, router, DEEP, "d", **options)) == ["__init__.py", "page.html"]
