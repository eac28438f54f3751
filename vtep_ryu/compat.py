"""Lets ``ryu-manager`` of Ryu 4.34 run with a current eventlet, and know this program's options.

``vtep_ryu.pth`` in site-packages calls :func:`install` at every interpreter start, so this module imports nothing
heavy. It puts a finder in front of ``sys.meta_path``, which waits for the modules in :data:`BEFORE` and :data:`AFTER`.

Where this program is what ``ryu-manager`` runs, it also leaves out what its imports would do in vain: half a second.
"""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

APP = "vtep_ryu.apps.vtep"


def _quieten_eventlet() -> None:
    """Hide two notices of eventlet 0.41 that no operator can act on.

    One is its deprecation, at every import. The other is a count of locks that monkey patching has missed: it is wrong
    after ``ryu-manager``, which patches in two steps, since the second step counts the locks that it has just replaced.
    """
    import logging
    import warnings

    def is_no_lock_count(record: logging.LogRecord) -> bool:
        return record.name != "eventlet" or "RLock(s) were not greened" not in record.getMessage()

    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    if logging.lastResort:
        logging.lastResort.addFilter(is_no_lock_count)


def _hide_syntax_warnings() -> None:
    """Python reports Ryu's ``is not 0`` when it compiles that file; uv leaves compiling to the first run."""
    import warnings

    warnings.filterwarnings("ignore", category=SyntaxWarning, module=".*/ryu/")


def _add_already_handled(wsgi: ModuleType) -> None:
    """``ryu.app.wsgi`` imports what eventlet had until 0.30.2; since then a flag says it, and any response will do."""
    if not hasattr(wsgi, "ALREADY_HANDLED"):
        wsgi.ALREADY_HANDLED = ()  # type: ignore[attr-defined]


def _is_ours() -> bool:
    """Whether this is ``ryu-manager`` with this program."""
    return any(APP in argument for argument in sys.argv[1:])


def put_pythonpath_last() -> None:
    """Have what is installed with this program found first.

    $PYTHONPATH may lead to another version of a package: Open vSwitch's documents have it lead to their ovs package.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = {os.path.abspath(each) for each in given if each}  # noqa: PTH100 - pathlib is much to load for that
    sys.path.sort(key=others.__contains__)


def _register_options(ryu_cfg: ModuleType) -> None:
    """``ryu-manager`` parses its command line before it imports an application: too late to register options."""
    if _is_ours():
        from vtep_ryu import options

        options.attach(ryu_cfg.CONF)


def _leave_names_to_the_system() -> None:
    """Spare eventlet its own resolver: this program knows addresses and no names."""
    if _is_ours():
        os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")


def _patch_threads_now(eventlet: ModuleType) -> None:
    """``ryu-manager`` does it last; then eventlet looks through everything that was imported for locks to replace."""
    if _is_ours() and "--enable-debugger" not in sys.argv:
        eventlet.monkey_patch(thread=True)


def _prepare_eventlet() -> None:
    _quieten_eventlet()
    _leave_names_to_the_system()


BEFORE: dict[str, Callable[[], None]] = {"eventlet": _prepare_eventlet, "ryu": _hide_syntax_warnings}
AFTER: dict[str, Callable[[ModuleType], None]] = {
    "eventlet": _patch_threads_now,
    "eventlet.wsgi": _add_already_handled,
    "ryu.cfg": _register_options,
}


class _Finder:
    """Finds what the other finders find, and has the loader of a module in :data:`AFTER` call that at the end."""

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in BEFORE:
            BEFORE[name]()
        if name == "distutils" and _is_ours():  # Ryu compares two versions; setuptools would bring all of its own.
            return PathFinder.find_spec(name)
        if name not in AFTER:
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not cls)
        spec = next((spec for spec in others if spec), None)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                AFTER[name](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Watch for the modules; a second call changes nothing."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
        if any(APP in argument for argument in sys.orig_argv[1:]):  # sys.argv is not there yet.
            put_pythonpath_last()
            gc.disable()  # What is imported stays; the application has the collector go on, see drivers/pauses.py.
