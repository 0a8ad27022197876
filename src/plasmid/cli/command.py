"""The command line itself: options, help, and what each command starts."""

import getpass
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

import plasmid
from plasmid.cli import statuses
from plasmid.cli.doctor import examine
from plasmid.cli.function import NoFunction, find_function, parse_arguments, tell_apart
from plasmid.cli.output import Output
from plasmid.cli.run import Run, run
from plasmid.cli.targets import ConnectOptions, make_hops, make_targets, split_targets
from plasmid.inventory import load

F = TypeVar("F", bound=Callable[..., Any])

TARGET_HELP = """\b
A TARGET is
  local:                       a second interpreter on this machine
  ssh://[user@]host[:port]     another machine, by your own ssh and its configuration
  host, user@host, host:port   the same
  sudo://user@, su://user@, doas://user@
                               another user of this machine, or of that of --via
  with --inventory             the name of a host or a group there, or all
"""

STATUS_HELP = "\b\nExit status:" + statuses.LINES.partition("\n\n")[0] + "\n\n" + statuses.LINES.partition("\n\n")[2]

RUN_HELP = f"""Call FUNCTION on every TARGET, and print what it returns.

\b
FUNCTION is
  FILE.py::NAME                of a file here, which is imported, so its main part doesn't run;
                               NAME may be Class.method, static or of the class
  MODULE.NAME, MODULE:NAME     of a module that can be imported here, from this folder too

The modules that it needs are sent along. Nothing is installed or written there.

The first argument is a TARGET. FUNCTION is the first one after it that has the form of one. Join targets by commas,
or write one after the other; but a host name with dots has to stand first, behind a comma, or be written
ssh://host.example.com.

ARGS are JSON where they are that, text otherwise; NAME=VALUE is a keyword argument. Text that looks like JSON is put
in quotes of its own: '"5"'. Put -- before arguments that start with a dash.

\b
  plasmid run local: platform.node
  plasmid run web1,web2 os.getloadavg --json
  plasmid run ssh://root@db1:2222 disk.py::free_bytes /var unit=MiB
  plasmid run db1 --via bastion shutil.disk_usage / --timeout 10
  plasmid run local: math.fabs -- -5

Results go to stdout; with several targets each line begins with the target's name. What is printed and logged there
goes to stderr, and so do errors. Up to 32 targets are worked on at a time.

{TARGET_HELP}
{STATUS_HELP}"""

DOCTOR_HELP = f"""Connect to each TARGET, and say step by step what happens, how long it takes, and what is wrong.

\b
  plasmid doctor web1
  plasmid doctor ssh://me@web1:2222 --python /opt/python3.12/bin/python3
  plasmid doctor local:

{TARGET_HELP}
{STATUS_HELP}"""

CONNECT_OPTIONS = (
    click.option(
        "-i",
        "--inventory",
        metavar="FILE",
        help="Hosts and groups that can be targets, and `all`: a list with ranges, Ansible's INI, YAML or JSON, an ssh"
        " configuration.",
    ),
    click.option("--via", multiple=True, metavar="TARGET", help="Start the connection there; again for a further hop."),
    click.option("--python", metavar="PATH", help="The Python of the targets.  [default: python3, or what is found]"),
    click.option("--identity", metavar="FILE", help="The only key that ssh offers. With --via: to the first hop."),
    click.option("--port", type=click.IntRange(1, 65535), help="The port of targets that name none."),
    click.option(
        "--ask-password", is_flag=True, help="Ask here for the password of the targets, once, when one needs it."
    ),
    click.option(
        "-o", "ssh_options", multiple=True, metavar="NAME=VALUE", help="An option of ssh, as its -o takes it."
    ),
    click.option("--ssh-arg", "ssh_args", multiple=True, metavar="ARG", help="Any other argument for ssh."),
    click.option(
        "--check-host-keys",
        type=click.Choice(["enforce", "accept", "ignore"]),
        help="accept: the key of a host seen for the first time is taken.  [default: enforce]",
    ),
    click.option(
        "--connect-timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="For everything until the far side has answered.  [default: 30]",
    ),
)


def takes_connect_options(function: F) -> F:
    """Add the options that say how to connect."""
    for option in reversed(CONNECT_OPTIONS):
        function = option(function)
    return function


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(plasmid.__version__, prog_name="plasmid", message="%(prog)s %(version)s")
def command() -> None:
    """Run Python functions on machines that have nothing but Python."""


@command.command("run", help=RUN_HELP, short_help="Call a function on one or many machines.")
@click.argument("words", nargs=-1, required=True, metavar="TARGET... FUNCTION [ARGS]...")
@click.option("--json", "as_documents", is_flag=True, help="Print one JSON document per target, a line each.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="For the call on each target."
)
@takes_connect_options
def run_command(words: "tuple[str, ...]", as_documents: bool, timeout: "float | None", **options: Any) -> None:
    """Run one function on targets."""
    output = Output()
    try:
        split = tell_apart(words)
        connect_options = _connect_options(**options)
        targets = make_targets(split_targets(split.targets), connect_options)
        hops = make_hops(connect_options)
        args, kwargs = parse_arguments(split.arguments)
        function = find_function(split.function)
    except (NoFunction, ValueError) as error:
        raise click.UsageError(str(error)) from error
    output.show_logs()
    _end_with(lambda: run(Run(targets, hops, function, args, kwargs, timeout), output, as_documents))


@command.command("doctor", help=DOCTOR_HELP, short_help="Say what a connection does, and what is wrong with it.")
@click.argument("words", nargs=-1, required=True, metavar="TARGET...")
@takes_connect_options
def doctor_command(words: "tuple[str, ...]", **options: Any) -> None:
    """Examine connections."""
    output = Output()
    try:
        connect_options = _connect_options(**options)
        targets = make_targets(split_targets(words), connect_options)
        hops = make_hops(connect_options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    output.show_logs()
    _end_with(lambda: examine(targets, hops, output))


def _connect_options(
    via: "tuple[str, ...]",
    ssh_options: "tuple[str, ...]",
    ssh_args: "tuple[str, ...]",
    connect_timeout: "float | None",
    inventory: "str | None",
    ask_password: bool,
    **others: Any,
) -> ConnectOptions:
    all_args = [*ssh_args, *(word for option in ssh_options for word in ("-o", option))]
    hosts = None if inventory is None else load(inventory)
    password = plasmid.Secret(lambda: getpass.getpass("Password: ")) if ask_password else None
    return ConnectOptions(
        via=via,
        ssh_args=tuple(all_args),
        connect_timeout_s=connect_timeout,
        inventory=hosts,
        password=password,
        **others,
    )


def _end_with(work: "Callable[[], int]") -> None:
    """Do the work and end the process with the status that it returns; with 130 on Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_orderly)
    try:
        status = work()
    except KeyboardInterrupt:
        status = statuses.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = statuses.FAILED
    sys.exit(status)


def _end_orderly(number: int, frame: object) -> None:
    """End as on Ctrl-C, so that nothing is left on other machines either."""
    sys.exit(128 + number)
