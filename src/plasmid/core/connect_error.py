"""ConnectError. Apart from the other errors, since no far side needs it before it has contexts of its own."""

from plasmid.core.errors import PlasmidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class ConnectError(PlasmidError):
    """A context couldn't be started.

    target: what was to be reached, `ssh://web1`. step: where it stopped. found: what was seen there.
    output: the last lines the far side printed. advice: what to try. status: exit status, None if it has none.
    """

    def __init__(
        self, target: str, step: str, found: str, output: str = "", advice: str = "", status: "Optional[int]" = None
    ) -> None:
        self.target = target
        self.step = step
        self.found = found
        self.output = output
        self.advice = advice
        self.status = status
        super().__init__(target, step, found, output, advice, status)

    def __str__(self) -> str:
        text = "connecting to %s: %s: %s" % (self.target, self.step, self.found)
        if self.output:
            text += "\nIt printed:\n" + "\n".join("    " + line for line in self.output.splitlines())
        if self.advice:
            text += "\n" + self.advice
        return text
