"""What is to be done after much has happened, done once."""

from __future__ import annotations

from collections.abc import Callable

from ryu.lib import hub

from vtep_ryu.apps.fatal import fatal


class Soon:
    """A function that is called in a green thread of its own, once for all that it is asked for until then.

    Of many switches hundreds say something at once, when they connect or come from an instance that has ended. What
    goes through all of them then is done once, and not for each.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._is_asked = False

    def __call__(self) -> None:
        """Have it called soon."""
        if not self._is_asked:
            self._is_asked = True
            hub.spawn(fatal(self._call))

    def _call(self) -> None:
        self._is_asked = False
        self._function()
