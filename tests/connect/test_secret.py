"""secret.py: it shows itself to nobody but who types it, and what can't be typed is refused without being shown."""

import copy
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import plasmid
from plasmid.connect import from_spec, parse, travelling_spec
from plasmid.connect.secret import SIZE_MAX, Secret, as_secret
from plasmid.core import values

WORD = "correct horse ä"


def test_a_secret_reveals_what_it_was_made_of() -> None:
    assert Secret(WORD).reveal() == WORD
    assert Secret(lambda: WORD).reveal() == WORD
    assert plasmid.Secret is Secret


def test_a_function_is_called_once_and_only_when_the_secret_is_needed() -> None:
    calls = []

    def ask() -> str:
        calls.append(1)
        return WORD

    secret = Secret(ask)
    assert calls == []
    assert [secret.reveal(), secret.reveal(), len(calls)] == [WORD, WORD, 1]


def test_an_error_of_the_function_is_passed_on_and_it_is_asked_again() -> None:
    answers: Iterator[Any] = iter([KeyboardInterrupt(), WORD])

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    secret = Secret(ask)
    with pytest.raises(KeyboardInterrupt):
        secret.reveal()
    assert secret.reveal() == WORD


def test_no_way_to_print_it_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(WORD)
    logging.getLogger("test").warning("%s %r", secret, [secret])
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret, repr({"p": secret}), caplog.text]
    assert WORD not in "".join(shown)
    assert shown[0] == "<Secret>"
    assert repr(copy.copy([secret])) == "[<Secret>]"


def test_it_is_not_written_by_pickle_and_does_not_travel_as_a_value() -> None:
    with pytest.raises(TypeError, match="a Secret can't be pickled"):
        pickle.dumps(Secret(WORD))
    with pytest.raises(plasmid.UnsendableValue) as caught:
        values.pack({"a": [Secret(WORD)]})
    assert WORD not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "a password can't be empty: pass None for no password"),
        *(
            (f"pass{chr(c)}", "a password with a line break or another control character can't be typed at a prompt")
            for c in (0, 3, 10, 13, 27, 127)
        ),
        ("x" * (SIZE_MAX + 1), "a password of more than 1023 bytes can't be typed at a prompt"),
        ("ä" * (SIZE_MAX // 2 + 1), "a password of more than 1023 bytes can't be typed at a prompt"),
    ],
)
def test_what_cannot_be_typed_is_refused_and_not_shown(given: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Secret(given)
    assert str(caught.value) == message
    with pytest.raises(ValueError) as later:
        Secret(lambda: given).reveal()
    assert str(later.value) == message


def test_the_longest_that_can_be_typed_is_taken() -> None:
    assert Secret("x" * SIZE_MAX).reveal() == "x" * SIZE_MAX


@pytest.mark.parametrize("given", [b"bytes", 1, ["x"]])
def test_what_is_no_password_is_refused_by_its_type(given: Any) -> None:
    with pytest.raises(TypeError) as caught:
        as_secret(given)
    name = type(given).__name__
    assert str(caught.value) == f"a Secret is made of a str or a function that returns one, not of {name}"
    with pytest.raises(TypeError) as later:
        Secret(lambda: given).reveal()
    assert str(later.value) == f"the function of a Secret must return a str, not {name}"


def test_a_password_of_a_connector_may_be_given_in_three_forms_or_not_at_all() -> None:
    secret = Secret(WORD)
    assert (as_secret(None), as_secret(secret)) == (None, secret)
    assert [one and one.reveal() for one in (as_secret(WORD), as_secret(lambda: WORD))] == [WORD, WORD]


@pytest.mark.parametrize("url", ["ssh://web1", "sudo://joe@", "su://joe@", "doas://joe@"])
def test_a_connector_shows_its_password_only_in_what_travels_to_the_context_that_needs_it(url: str) -> None:
    connector = parse(url, password=WORD)
    assert WORD not in repr(connector.spec()) + repr(vars(connector)) + connector.target + repr(connector.environment())
    assert WORD not in " ".join(connector.argv("text", "name"))
    spec = travelling_spec(connector)
    assert spec["password"] == WORD
    again = from_spec(spec)
    assert [secret.reveal() for secret in again.secrets().values()] == [WORD]
    assert WORD not in repr(again.spec())
