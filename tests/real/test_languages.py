"""Machines that speak other languages, with the translations of sudo, su and PAM that are installed here."""

import gettext
from pathlib import Path
from typing import Any

import pytest

import plasmid
from plasmid.connect.prompts import PASSWORD_WORDS, Prompt
from tests.real import far, far_languages, parts
from tests.real.test_become import BY_PASSWORD, REFUSED, WRONG, become, failure, start, works
from tests.real.users import Users

__all__ = ["become"]  # the fixture

LOCALES = Path("/usr/share/locale")
SPOKEN = [("de", "Passwort"), ("fr", "Mot de passe"), ("ja", "パスワード")]


def catalogs(name: str) -> "list[Path]":
    """Return the translations of a program's messages that this machine has."""
    return sorted(LOCALES.glob(f"*/LC_MESSAGES/{name}.mo"))


def test_pam_is_understood_in_every_language_that_it_speaks_here() -> None:  # U1
    found = catalogs("Linux-PAM")
    parts.require("the translations of PAM's messages", found)
    asked = Prompt("password", "", PASSWORD_WORDS)
    missed = []
    for path in found:
        with path.open("rb") as file:
            words = gettext.GNUTranslations(file)
        questions = [words.gettext(text) for text in ("Password: ", "Password:")]
        missed += [(path.parent.parent.name, text) for text in questions if not asked.matches(text)]
    assert missed == []


# doas knows no other language than its own.
@pytest.mark.parametrize(("language", "asks"), SPOKEN)
@pytest.mark.parametrize(("scheme", "whose"), [one for one in BY_PASSWORD if one.values[0] != "doas"])
def test_a_machine_that_speaks_another_language_is_asked_in_ours(  # U1
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str, whose: str, language: str, asks: str
) -> None:
    for name in ("sudo", "Linux-PAM"):
        parts.require(f"{name} in {language}", (LOCALES / language / "LC_MESSAGES" / f"{name}.mo").exists())
    caller = become(machine_users.asks)
    # C.UTF-8 needs no locale to be generated, and messages are translated under it all the same.
    for name, value in (("LC_ALL", "C.UTF-8"), ("LANGUAGE", language)):
        caller.call(far.set_environment, name, value)
    target = machine_users.target
    by_hand = ["sudo", "-k", "-u", target.name, "true"] if scheme == "sudo" else ["su", target.name, "-c", "true"]
    assert asks in caller.call(far_languages.question, by_hand)
    context = start(router, scheme, target.name, caller, password=getattr(machine_users, whose).password)
    works(context, target)
    error = failure(router, scheme, target.name, caller, password=WRONG)
    assert (error.step, error.found) == REFUSED[scheme][:2]
    assert error.advice.startswith("The password was wrong. ")
