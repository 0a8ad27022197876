"""What a program takes out of its context's process group is left alone at the end, and what it leaves there isn't."""

import os
import signal

import plasmid
from tests.real import far, leftovers
from tests.real.conftest import ways

GONE_TIMEOUT_S = 2  # promised


# D11
@ways
def test_what_has_a_session_of_its_own_outlives_its_context_and_all_else_does_not(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    ordinary = context.call(far.start_sleeper)
    daemon = context.call(far.start_daemon)
    try:
        os.kill(context.call(os.getpid), signal.SIGKILL)
        assert leftovers.until_empty(lambda: leftovers.running([ordinary]), GONE_TIMEOUT_S) == []
        assert [line.partition(":")[0] for line in leftovers.running([daemon])] == [f"process {daemon} (running)"]
    finally:
        os.kill(daemon, signal.SIGKILL)
