import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RYU_MANAGER = Path(sys.executable).with_name("ryu-manager")

APPLICATION = """
import logging
from ryu.base import app_manager

class Application(app_manager.RyuApp):
    def start(self):
        logging.getLogger("vtep_ryu").info("started")
        return super().start()
"""


def python(code, *arguments, **environ):
    """Standard output of a new interpreter; nothing may come on its standard error."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environ})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def run_until(text, arguments, **environ):
    """What a program that does not end by itself writes to standard error up to the line with that text."""
    environ = {**os.environ, **environ}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environ) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if text in line:
                process.kill()
    return "".join(lines)


def test_every_interpreter_waits_for_the_modules_and_imports_nothing_heavy_for_that():
    heavy = "{'asyncio', 'eventlet', 'logging', 'oslo_config', 'ryu', 'socket', 'vtep_ryu.options'}"
    assert python(f"import sys; print('vtep_ryu.compat' in sys.modules, {heavy} & set(sys.modules))") == "True set()"


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_a_wheel_and_an_editable_install_both_bring_the_file_that_loads_it(tmp_path, kind):
    for name in ("LICENSE", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "vtep_ryu", tmp_path / "vtep_ryu")
    code = f"from setuptools import build_meta; build_meta.build_{kind}('.')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert "vtep_ryu/options.py" in wheel.namelist() or kind == "editable"
        assert wheel.read("vtep_ryu.pth") == b"import vtep_ryu.compat; vtep_ryu.compat.install()\n"
        pth_files = sorted(name for name in wheel.namelist() if name.endswith(".pth"))
        assert pth_files[-1] == "vtep_ryu.pth", "the package has to be found before"


def test_a_second_install_changes_nothing():
    code = "import sys, vtep_ryu.compat as c; c.install(); print(sum(f is c._Finder for f in sys.meta_path))"
    assert python(code) == "1"


def test_eventlet_gets_the_name_that_ryu_imports():
    assert python("from eventlet.wsgi import ALREADY_HANDLED; import ryu.app.wsgi; print(ALREADY_HANDLED)") == "()"


def test_an_eventlet_that_has_the_name_keeps_its_own(tmp_path):
    (tmp_path / "eventlet").mkdir()
    (tmp_path / "eventlet/__init__.py").write_text("")
    (tmp_path / "eventlet/wsgi.py").write_text("ALREADY_HANDLED = 'its own'\n")
    code = "import eventlet.wsgi as w; print(w.ALREADY_HANDLED)"
    assert python(code, PYTHONPATH=str(tmp_path)) == "its own"


def test_a_watched_module_is_loaded_and_reloaded_like_any_other():
    code = (
        "import importlib, inspect, eventlet.wsgi as w; del w.ALREADY_HANDLED; importlib.reload(w);"
        "print(w.ALREADY_HANDLED, type(w.__spec__.loader).__name__, 'def server' in inspect.getsource(w))"
    )
    assert python(code) == "() SourceFileLoader True"


def test_a_watched_module_that_does_not_exist_is_not_found(tmp_path):
    (tmp_path / "eventlet").mkdir()
    (tmp_path / "eventlet/__init__.py").write_text("")
    code = "import importlib.util as u; print(u.find_spec('eventlet.wsgi'))"
    assert python(code, PYTHONPATH=str(tmp_path)) == "None"


@pytest.mark.parametrize("application", ["vtep_ryu.apps.vtep", "other,vtep_ryu.apps.vtep"])
def test_the_options_are_known_before_ryu_manager_reads_its_command_line(application):
    code = "from ryu import cfg; print('mac_ageing_time' in cfg.CONF.vtep)"
    assert python(code, application) == "True"


def test_other_applications_see_nothing_of_the_options():
    assert (
        python("from ryu import cfg; print('vtep' in cfg.CONF, type(cfg.CONF).__name__)", "app") == "False ConfigOpts"
    )


IN_VAIN = "{'dns', 'pkg_resources', 'setuptools'}"
ARE_THREADS_GREEN = "__import__('eventlet').patcher.is_monkey_patched('thread')"


def test_what_this_application_does_not_use_is_not_imported():
    code = f"import sys, ryu.cmd.manager; print({IN_VAIN} & set(sys.modules))"
    assert python(code, "vtep_ryu.apps.vtep") == "set()"


def test_other_applications_have_the_resolver_of_eventlet():
    assert python("import os, eventlet; print(os.environ.get('EVENTLET_NO_GREENDNS'))", "app") == "None"


def test_threads_are_green_at_once_for_this_application_and_not_where_a_debugger_is_to_be_used():
    arguments = {"vtep_ryu.apps.vtep": "True", "other": "False", "vtep_ryu.apps.vtep --enable-debugger": "False"}
    assert {each: python(f"print({ARE_THREADS_GREEN})", *each.split()) for each in arguments} == arguments


def test_help_of_ryu_manager_lists_the_options_and_nothing_else_is_printed():
    done = subprocess.run([RYU_MANAGER, "vtep_ryu.apps.vtep", "--help"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--vtep-mac-ageing-time" in done.stdout


def test_ryu_manager_with_another_application_starts_without_a_warning_even_if_nothing_was_compiled_before(tmp_path):
    (tmp_path / "application.py").write_text(APPLICATION)
    environ = {"PYTHONPATH": str(tmp_path), "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    written = run_until("started", [RYU_MANAGER, "application"], **environ)
    assert written == "loading app application\ninstantiating app application of Application\nstarted\n"


def test_this_application_starts_without_a_warning_and_without_databases(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    options = [f"--vtep-{name}-remotes=unix:{tmp_path}/db.sock" for name in ("hardware-vtep", "open-vswitch")]
    command = [RYU_MANAGER, "vtep_ryu.apps.vtep", f"--ofp-tcp-listen-port={port}", *options]
    written = run_until("vtep_ryu 0", command, PYTHONPYCACHEPREFIX=str(tmp_path / "compiled"))
    before, started, _ = written.partition("vtep_ryu 0")
    assert started
    assert not re.search("traceback|warning|error|deprecated|not greened", before, re.IGNORECASE)


def test_a_skipped_test_counts_as_failed(tmp_path):
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_that_passes(): pass\n"
        "def test_that_skips(): pytest.skip('for a reason')\n"
        "@pytest.mark.skip(reason='marked')\n"
        "def test_that_is_marked(): pass\n"
    )
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    command = [sys.executable, "-m", "pytest", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    assert "1 failed, 1 passed, 2 errors" in done.stdout
    assert "for a reason" in done.stdout
