"""Answers that come later than the method's end."""

import gc
import threading
from typing import Any

import plasmid
from plasmid.core.errors import Cancelled
from plasmid.testing import ANSWER_TIMEOUT_S
from tests.service.live import Kinds


def held(client: Any, kinds: Kinds, count: int = 1) -> Any:
    """Return the calls, and wait until all are held."""
    calls = [client.later.start() for _ in range(count)]
    while len(kinds.replies) < count:
        assert client.plain(1) == 1
    return calls


# S19
def test_a_reply_is_sent_later_by_any_thread_and_once(client: Any, kinds: Kinds) -> None:
    (call,) = held(client, kinds)
    reply = kinds.replies.pop()
    assert (reply.is_wanted, reply.caller.name) == (True, "root")
    thread = threading.Thread(target=reply.send, args=("first",))
    thread.start()
    thread.join()
    reply.send("second")
    reply.fail(ValueError("third"))
    assert call.result(ANSWER_TIMEOUT_S) == "first"
    assert not reply.is_wanted


# S19
def test_a_reply_may_be_an_error_and_one_that_is_dropped_is_cancelled(client: Any, kinds: Kinds) -> None:
    failing, dropped = held(client, kinds, 2)
    kinds.replies.pop(0).fail(LookupError("not there"))
    kinds.replies.clear()
    gc.collect()
    errors = [call.exception(ANSWER_TIMEOUT_S) for call in (failing, dropped)]
    assert isinstance(errors[0], LookupError)
    assert isinstance(errors[1], Cancelled)
    assert str(errors[1]).endswith("Kinds.later dropped the request without an answer")


# S19
def test_a_reply_knows_that_its_caller_has_given_up(client: Any, kinds: Kinds) -> None:
    (call,) = held(client, kinds)
    call.cancel()
    assert client.plain(1) == 1
    assert not kinds.replies[0].is_wanted
    kinds.replies[0].send(plasmid.__version__)
