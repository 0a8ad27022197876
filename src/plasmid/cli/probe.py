"""The service with which `plasmid doctor` sees whether services work on a far side. Runs on Python 3.6."""

import os

from plasmid.service import AllowParents, Service, expose


class Probe(Service):
    """Answers, no more."""

    @expose(AllowParents())
    def pid(self) -> int:
        """Return the number of the process that it runs in."""
        return os.getpid()
