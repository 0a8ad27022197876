"""One use of each distribution that tests/real/distributions.py tries; each function runs on a far side.

Each imports what it uses itself, and returns something that only comes from its having worked.
"""

# mypy: ignore-errors


def rich() -> str:
    """Render a table."""
    import io

    from rich.console import Console
    from rich.table import Table

    table = Table("host", "free")
    table.add_row("web1", "7")
    out = io.StringIO()
    Console(file=out, width=20).print(table)
    return out.getvalue().splitlines()[3].strip("│ ")


def jinja2() -> str:
    """Render a template, with autoescape."""
    from jinja2 import Environment

    return Environment(autoescape=True).from_string("{% for n in rows %}<{{ n }}>{% endfor %}").render(rows=["a", "&"])


def requests() -> str:
    """Prepare a request, with certificates found."""
    import requests

    request = requests.Request("GET", "http://web1/x", params={"q": "ä"}).prepare()
    requests.Session()
    return request.url


def certifi() -> str:
    """Have the certificates as a file."""
    import certifi

    with open(certifi.where()) as file:
        return str("BEGIN CERTIFICATE" in file.read())


def attrs() -> str:
    """Define a class, which makes its methods by exec."""
    import attr

    @attr.s
    class Point:
        x = attr.ib(converter=int)

    return repr(Point("7"))


def packaging() -> str:
    """Compare versions."""
    from packaging.requirements import Requirement

    return str(Requirement("a>=1.2; python_version>'3'").specifier.contains("1.10"))


def pyyaml() -> str:
    """Read YAML in pure Python."""
    import yaml

    return repr(yaml.safe_load("a: [1, {b: 2}]"))


def jsonschema() -> str:
    """Validate against a schema, which comes from data files."""
    import jsonschema

    return str(jsonschema.Draft202012Validator({"type": "string"}).is_valid(7))


def tzdata() -> str:
    """Have a time zone from a package of data alone."""
    import importlib.resources

    import tzdata  # noqa: F401

    return importlib.resources.files("tzdata.zoneinfo.Europe").joinpath("Berlin").read_bytes()[:4].decode()


def pytz() -> str:
    """Localize a time."""
    import datetime

    import pytz

    return str(pytz.timezone("Europe/Berlin").localize(datetime.datetime(2024, 7, 1)).utcoffset())


def dateutil() -> str:
    """Parse a date and repeat it."""
    from dateutil import parser, rrule

    return str(list(rrule.rrule(rrule.DAILY, count=2, dtstart=parser.parse("1 Feb 2024")))[1].date())


def markdown() -> str:
    """Convert, with an extension that is found as an entry point."""
    import markdown

    return markdown.markdown("a | b\n--|--\n1 | 2", extensions=["tables"])[:7]


def pygments() -> str:
    """Highlight, with a lexer that is imported when it's named."""
    from pygments import highlight
    from pygments.formatters import get_formatter_by_name
    from pygments.lexers import get_lexer_by_name

    return highlight("x = 1", get_lexer_by_name("python"), get_formatter_by_name("html"))[:23]


def docutils() -> str:
    """Publish reStructuredText, with templates and languages."""
    from docutils.core import publish_string

    return publish_string("*a*", writer_name="html5", settings_overrides={"embed_stylesheet": False}).decode()[:5]


def mistune() -> str:
    """Convert Markdown."""
    import mistune

    return mistune.html("**a**").strip()


def tabulate() -> str:
    """Format a table."""
    from tabulate import tabulate as table

    return table([["a", 1]], tablefmt="plain")


def tqdm() -> str:
    """Show progress into memory."""
    import io

    from tqdm import tqdm as progress

    return str(sum(progress([1, 2, 3], file=io.StringIO())))


def tomlkit() -> str:
    """Change TOML in place."""
    import tomlkit

    document = tomlkit.parse("a = 1 # one\n")
    document["a"] = 2
    return tomlkit.dumps(document).strip()


def babel() -> str:
    """Format a number by a locale's data, which are files opened beside the package."""
    from babel.numbers import format_decimal

    return format_decimal(1234.5, locale="de")


def sqlparse() -> str:
    """Format SQL."""
    import sqlparse

    return sqlparse.format("select 1", keyword_case="upper")


def networkx() -> str:
    """Find a way through a graph; its backends are entry points, read at import."""
    import networkx

    return repr(networkx.shortest_path(networkx.path_graph(4), 0, 3))


def mpmath() -> str:
    """Compute with many digits."""
    import mpmath

    mpmath.mp.dps = 20
    return str(mpmath.sqrt(2))


def more_itertools() -> str:
    """Cut a list into pieces."""
    from more_itertools import chunked

    return repr(list(chunked([1, 2, 3], 2)))


def sortedcontainers() -> str:
    """Keep a list sorted."""
    from sortedcontainers import SortedList

    return repr(list(SortedList([3, 1])))


def bottle() -> str:
    """Render a template of a module that is a single file."""
    import bottle

    return bottle.template("{{a}}", a=7)


def flask() -> str:
    """Answer a request in a test client."""
    import flask

    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: "open")
    return app.test_client().get("/").text


def typer() -> str:
    """Run a command."""
    import typer
    from typer.testing import CliRunner

    app = typer.Typer()
    app.command()(lambda: typer.echo("hi"))
    result = CliRunner().invoke(app)
    if result.exception:
        raise result.exception
    return result.stdout.strip()


def zope_interface() -> str:
    """Ask who provides an interface; a part of a namespace package."""
    from zope.interface import Interface, implementer

    class Shop(Interface):
        pass

    @implementer(Shop)
    class Till:
        pass

    return str(Shop.providedBy(Till()))


def jaraco_text() -> str:
    """Use a part of a namespace package that reads its data at import."""
    from jaraco.text import FoldedCase, lorem_ipsum

    return str(FoldedCase("A") == "a") + str(lorem_ipsum)[:5]


def lark() -> str:
    """Parse by a grammar that imports a grammar file of the package."""
    from lark import Lark

    return str(Lark("%import common.NUMBER\nstart: NUMBER", parser="lalr").parse("7").children[0])


def pyparsing() -> str:
    """Parse a sum."""
    from pyparsing import Word, nums

    return repr((Word(nums) + "+" + Word(nums)).parse_string("1+2").as_list())


def humanize() -> str:
    """Say a size; its version is read from its metadata at import."""
    import humanize

    return humanize.naturalsize(3000)


def arrow() -> str:
    """Shift a time."""
    import arrow

    return str(arrow.get("2024-02-28").shift(days=2).date())


def bs4() -> str:
    """Take HTML apart."""
    from bs4 import BeautifulSoup

    return BeautifulSoup("<p>a<b>c</b>", "html.parser").b.text


def html5lib() -> str:
    """Parse HTML as browsers do."""
    import html5lib

    return html5lib.parse("<p>a", namespaceHTMLElements=False).find("body/p").text


def pluggy() -> str:
    """Call a hook."""
    import pluggy

    spec, impl = pluggy.HookspecMarker("shop"), pluggy.HookimplMarker("shop")

    class Spec:
        @spec
        def price(self):
            pass

    class Plugin:
        @impl
        def price(self):
            return 7

    manager = pluggy.PluginManager("shop")
    manager.add_hookspecs(Spec)
    manager.register(Plugin())
    return repr(manager.hook.price())


def stevedore() -> str:
    """Find extensions by their entry points."""
    from stevedore import ExtensionManager

    return str("null" in ExtensionManager("stevedore.example.formatter").names() or "none")


def faker() -> str:
    """Make up a name; its providers are looked for in folders."""
    from faker import Faker

    Faker.seed(1)
    return str(bool(Faker().name()))


def click() -> str:
    """Run a command."""
    import click as cli
    from click.testing import CliRunner

    return CliRunner().invoke(cli.command()(lambda: cli.echo("hi"))).output.strip()


def simplejson() -> str:
    """Write JSON without its compiled part."""
    import simplejson

    return simplejson.dumps({"a": 1})
