"""Modules on their way: how often each crosses a link, what is sent ahead, and what code sees of itself over there."""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import plasmid
from tests.real import far, far_modules

pytestmark = pytest.mark.real

SENT = re.compile(r"sent '(shop_of_many[\w.]*)' to ([/\d]+):")
COUNT = 40


@pytest.fixture
def router() -> "Iterator[plasmid.Router]":
    """Give a Router whose contexts may have the package, which no statement imports."""
    with plasmid.Router(allow_modules=["shop_of_many"]) as router:
        yield router


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a package of 40 modules, each of which imports the next."""
    folder = tmp_path / "shop_of_many"
    folder.mkdir()
    (folder / "__init__.py").write_text("from shop_of_many import m0\n")
    for number in range(COUNT):
        after = f"from shop_of_many import m{number + 1}\n" if number + 1 < COUNT else ""
        (folder / f"m{number}.py").write_text(f"{after}def work():\n    return {number}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "shop_of_many"


def sent(caplog: pytest.LogCaptureFixture, logger: str) -> "Counter[str]":
    """Return how often each module of the package was sent by the context of that logger, over its link."""
    texts = [record.getMessage() for record in caplog.records if record.name == logger]
    return Counter(match[1] for match in map(SENT.match, texts) if match)


# U4
def test_each_link_of_a_chain_carries_each_module_once(
    router: plasmid.Router, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # for what the hops send
    caplog.set_level(logging.INFO, "plasmid.audit")
    chain = [router.local(name="hop1")]
    for number in (2, 3):
        chain.append(router.local(name=f"hop{number}", via=chain[-1]))
    for context in chain:
        context.call(far_modules.log_audit)
    leaves = [router.local(name=f"leaf{number}", via=chain[-1]) for number in (1, 2)]
    for leaf in [*leaves, chain[0]]:
        assert leaf.call(far_modules.import_all, package) == COUNT + 1
    for context in reversed(chain):
        context.shutdown()  # what it logged has come by then
    once = Counter(dict.fromkeys([package, *(f"{package}.m{number}" for number in range(COUNT))], 1))
    assert sent(caplog, "plasmid.audit") == once, "over the first link, though three wanted it"
    for name in ("hop1", "hop2"):
        assert sent(caplog, f"plasmid.ctx.{name}") == once
    assert sent(caplog, "plasmid.ctx.hop3") == once + once, "over two links"


# U4
def test_what_many_below_a_relay_want_at_once_crosses_the_link_above_it_once(
    router: plasmid.Router, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "plasmid.audit")
    relay = router.local(name="relay")
    leaves = [router.local(name=f"leaf{number}", via=relay) for number in range(5)]
    for leaf in leaves:
        leaf.call(far_modules.import_all, "json")
    calls = [leaf.call_async(far_modules.import_all, package) for leaf in leaves]
    assert [call.result() for call in calls] == [COUNT + 1] * 5
    assert set(sent(caplog, "plasmid.audit").values()) == {1}


# U4
def test_a_package_of_many_modules_takes_few_round_trips(
    router: plasmid.Router, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = router.local()
    context.call(far_modules.import_all, "json")
    before = context.call(far_modules.questions)
    assert context.call(far_modules.import_all, package) == COUNT + 1
    assert context.call(far_modules.questions) - before == 1


# U4
def test_what_was_preloaded_is_there_without_a_question(router: plasmid.Router, package: str) -> None:
    contexts = [router.local(name=name) for name in ("a", "b")]
    contexts[0].preload(package)
    plasmid.preload(contexts, package, f"{package}.m3")
    for context in contexts:
        context.call(far_modules.import_all, "json")
        before = context.call(far_modules.questions)
        assert context.call(far_modules.import_all, package) == COUNT + 1
        assert context.call(far_modules.questions) - before == 0
    with pytest.raises(ImportError) as caught:
        plasmid.preload(contexts, "nowhere_at_all", "json", "wave")
    assert str(caught.value).startswith("can't send ")
    assert "nowhere_at_all to a (/1): there is no such module; " in str(caught.value)
    assert "wave to b (/2): it belongs to Python's standard library" in str(caught.value)


# U4
def test_over_a_slow_line_sources_can_be_sent_alone(router: plasmid.Router, package: str) -> None:
    for context, is_compiled in ((router.local(), True), (router.local(compiled=False), False)):
        assert context.call(far_modules.import_all, package) == COUNT + 1
        assert context.call(far_modules.came_compiled, package) is is_compiled


# U4
def test_code_sees_its_own_source_over_there(router: plasmid.Router, package: str) -> None:
    context = router.local()
    source, shown, listed = context.call(far_modules.look_at_itself)
    assert source.splitlines()[0] == "def raise_here() -> None:"
    assert "    raise LookupError  # here" in shown
    assert "->" in listed
    assert "raise LookupError  # here" in listed


def test_the_first_service_call_of_all_asks_for_the_framework_at_once(router: plasmid.Router) -> None:
    context = router.local()
    context.call(far_modules.questions)
    assert context.service(far.Counter).add(1) == 1
    # The framework; the class; and the deduplication that its module names.
    assert context.call(far_modules.questions) == 3
