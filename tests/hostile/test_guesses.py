"""Ids and tokens that a child guesses have no effect; `make fuzz` goes on with it for as long as one likes."""

import random

from tests.core.wire import at
from tests.fuzz import fuzz_guesses

BATCHES = 40


# D12
def test_no_guess_of_an_id_or_a_token_has_an_effect() -> None:
    scene = fuzz_guesses.Scene(random.Random(1))
    assert sum(scene.play() for _ in range(BATCHES)) == BATCHES * fuzz_guesses.BATCH
    scene.end()


def test_the_guesser_is_heard_where_it_guesses_right() -> None:
    scene = fuzz_guesses.Scene(random.Random(1))
    tree = scene.tree
    assert tree.streams("/2").put(at("/"), fuzz_guesses.RECEIVER, scene.token, [b"x"])
    tree.run()
    assert tree.told("/") == [("ItemArrived", "receiver", "/2", b"x")]
