"""Loaded beside the application, as a second one: for addresses of its own something breaks, or never ends.

No row and no frame is known by which the program could be broken from outside.
"""

from typing import Any

from eventlet import patcher
from ryu.base import app_manager

from vtep_ryu.apps import reconciler
from vtep_ryu.core.units import RemoteUnit
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.drivers import hwvtep, local_macs

RENDERING = "02:0b:ad:00:00:00"
READING = "02:0b:ad:00:00:01"
APPLYING = "02:0b:ad:00:00:02"
LEARNING = "02:0b:ad:00:00:03"
WRITING = "02:0b:ad:00:00:04"
RENDERING_HANGS = "02:0b:ad:00:00:05"
READING_HANGS = "02:0b:ad:00:00:06"


class Saboteur(app_manager.RyuApp):  # type: ignore[misc]
    """Breaks things in the process that it is loaded in: importing this module alone does not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sabotage(reconciler, "render", render)
        sabotage(hwvtep, "ucast_remote", read)
        sabotage(Vtep, "touch", touch)
        sabotage(Vtep, "seen", seen)
        sabotage(local_macs.LocalMacs, "_write_key", write_key)


def sleep_for_ever() -> None:
    """Hang, and let no other green thread of this thread run."""
    patcher.original("time").sleep(1 << 20)


def sabotage(owner: Any, name: str, breaks: Any) -> None:
    """Have a function break, or hang, before it does what it does."""
    original = getattr(owner, name)

    def sabotaged(*args: Any, **kwargs: Any) -> Any:
        breaks(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, sabotaged)


def render(vtep: Any, unit: Any) -> None:
    if isinstance(unit, RemoteUnit) and unit.mac == RENDERING:
        raise ZeroDivisionError("rendering")
    if isinstance(unit, RemoteUnit) and unit.mac == RENDERING_HANGS:
        sleep_for_ever()


def read(uuid: str, mac: str, logical_switch: str, locator: Any) -> None:
    if mac == READING:
        raise OverflowError("reading")
    if mac == READING_HANGS:
        sleep_for_ever()


def touch(vtep: Any, touched: Any, received: float | None = None) -> None:
    if any(isinstance(touch, RemoteUnit) and touch.mac == APPLYING for touch in touched):
        raise KeyError("applying")


def seen(vtep: Any, switch_id: int, binding: int, mac: str, now: float) -> None:
    if mac == LEARNING:
        raise AttributeError("learning")


def write_key(writer: Any, transaction: Any, locators: Any, site: Any, key: Any) -> None:
    if key[1] == WRITING:
        raise TypeError("writing")
