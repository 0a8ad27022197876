"""A service in the older form, with a number for a name and one `dispatch` for all: `python file_service.py web1`.

The far side asks this program for files, and can have those that were put on the list here, by the names they have on
it. It never says a path. Methods with @plasmid.expose (see disks.py) are the newer and shorter way.
"""

import hashlib
import pathlib
import sys
from typing import Any

import plasmid
import plasmid.service


class ShelfService(plasmid.service.Service):
    """Hands out the files on a shelf, whole, to every context of this program."""

    handle = 610
    max_message_size = 4096
    policies = (plasmid.service.AllowAny(),)
    required_args = {"title": str}

    def __init__(self, router: Any, shelf: "dict[str, pathlib.Path]") -> None:
        super().__init__(router)
        self.shelf = shelf

    def dispatch(self, args: Any, msg: Any) -> bytes:
        """Return the content of the file with this title."""
        if args["title"] not in self.shelf:
            raise KeyError("there is no %r on the shelf, only %s" % (args["title"], ", ".join(sorted(self.shelf))))
        return self.shelf[args["title"]].read_bytes()


def borrow(context: Any, title: str) -> bytes:
    """Return a file of the context that has the shelf."""
    content: bytes = plasmid.service.call(context, ShelfService.handle, {"title": title})
    return content


@plasmid.takes_econtext
def compare(titles: "list[str]", econtext: Any) -> "dict[str, tuple[int, str]]":
    """Return size and hash of each title, as they arrive on the machine that this runs on."""
    found = {}
    for title in titles:
        content = borrow(econtext.master, title)
        found[title] = len(content), hashlib.sha256(content).hexdigest()
    return found


@plasmid.main()
def main(router: Any) -> None:
    """Have another machine borrow the examples, and see whether they arrived whole."""
    shelf = {path.stem: path for path in pathlib.Path(__file__).parent.glob("*.py")}
    plasmid.service.Pool(router, services=[ShelfService(router, shelf)], size=2)
    remote = router.ssh(hostname=sys.argv[1]) if len(sys.argv) > 1 else router.local()
    for title, (size, digest) in sorted(remote.call(compare, sorted(shelf)).items()):
        whole = digest == hashlib.sha256(shelf[title].read_bytes()).hexdigest()
        print("%-16s %6d bytes, %s" % (title, size, "whole" if whole else "CHANGED ON THE WAY"))
