"""How a seed is given to the simulation, and the line that says how much was simulated.

python -m pytest tests/sim --seed 17        one world again, and nothing else
PLASMID_SIM_SEED=17                         the same, where options can't be given
"""

import os

import pytest

SEED_VARIABLE = "PLASMID_SIM_SEED"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --seed."""
    parser.addoption("--seed", type=int, default=None, help="simulate the world of this seed alone")


def pytest_configure(config: pytest.Config) -> None:
    """Hand the option on to where the test and the workers find it."""
    seed = config.getoption("--seed", default=None)
    if seed is not None:
        os.environ[SEED_VARIABLE] = str(seed)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print how many worlds and calls there were."""
    totals = {"seeds": 0, "calls": 0}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, count in report.user_properties:
            if report.when == "call" and name in totals:
                totals[name] += count
    if totals["seeds"]:
        terminalreporter.write_line("tests/sim: %(seeds)d seeds, %(calls)d calls" % totals)
