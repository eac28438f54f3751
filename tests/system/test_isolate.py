"""apps/isolate: nothing survives it, whichever way it ends."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.lab import LabError, run, wait_until

ISOLATE = str(Path("apps/isolate").resolve())
PROGRAM = """
ip netns add inner
ip link add outside type veth peer name eth0 netns inner
ovsdb-tool create $VTEP_LAB_DIR/ovs.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server --detach --pidfile --no-chdir -vconsole:off --remote=punix:$VTEP_LAB_DIR/db.sock $VTEP_LAB_DIR/ovs.db
setsid sleep 1000 &
trap 'exit 43' TERM
trap 'exit 44' INT
echo "up"
sleep 1000 &
wait
"""


class Run:
    """A command in a process group of its own, and the processes that it started."""

    def __init__(self, *argv: str, directory: Path) -> None:
        self.mark = f"ISOLATE_TEST={uuid.uuid4()}"
        env = os.environ | dict([self.mark.split("=")])
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=directory, env=env, start_new_session=True
        )
        assert self.process.stdout
        while self.process.stdout.readline() != b"up\n":
            assert self.process.poll() is None

    def processes(self) -> list[str]:
        """Every process that has inherited our mark, isolate and make included."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (directory / "environ").read_bytes():
                    found.append((directory / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def end(self) -> None:
        """Kill what is left."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=["isolate", "make", "make and a shell", "make under make"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """The program in isolate, called in one of four ways, once its daemons run."""
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    (tmp_path / "Makefile").write_text(
        f"simple:\n\t{ISOLATE} sh {program}\n"
        f"shell:\n\ttrue && if true; then {ISOLATE} sh {program}; fi; true\n"
        "outer:\n\t$(MAKE) shell\n"
    )
    argv = {
        "isolate": (ISOLATE, "sh", str(program)),
        "make": ("make", "simple"),
        "make and a shell": ("make", "shell"),
        "make under make": ("make", "outer"),
    }
    run_ = Run(*argv[request.param], directory=tmp_path)
    yield run_
    run_.end()


def interrupt(started: Run) -> None:
    """Ctrl-C: the terminal sends SIGINT to the whole process group."""
    os.killpg(started.process.pid, signal.SIGINT)


def terminate(started: Run) -> None:
    """SIGTERM to the outermost process alone."""
    started.process.terminate()


def kill(started: Run) -> None:
    """The same with SIGKILL."""
    started.process.kill()


def hang_up(started: Run) -> None:
    """The terminal is closed."""
    os.killpg(started.process.pid, signal.SIGHUP)


@pytest.mark.parametrize("end", [interrupt, terminate, kill, hang_up])
def test_nothing_is_left_however_it_ends(started: Run, end: Callable[[Run], None]) -> None:
    # One that has forked and not begun its program yet is not seen for a moment.
    wait_until(lambda: len(started.processes()) >= 6, 5, "the daemons to run", lambda: "\n".join(started.processes()))
    assert_nothing_is_seen()
    end(started)
    wait_until(lambda: not started.processes(), 5, "all processes to go", lambda: "\n".join(started.processes()))
    assert_nothing_is_seen()


def assert_nothing_is_seen() -> None:
    """What the program makes is not here: neither its namespace nor its interface (other tests have theirs here)."""
    assert "inner" not in run("ip", "netns")
    assert "outside" not in run("ip", "-o", "link")


@pytest.mark.parametrize("started", ["isolate"], indirect=True)
@pytest.mark.parametrize(("end", "status"), [(interrupt, 44), (terminate, 43), (kill, -signal.SIGKILL)])
def test_the_command_may_end_in_its_own_way_and_its_status_is_told(
    started: Run, end: Callable[[Run], None], status: int
) -> None:
    end(started)
    assert started.process.wait(10) == status


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status_is_the_commands(command: str, status: int) -> None:
    assert subprocess.run([ISOLATE, "sh", "-c", command], check=False).returncode == status


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 15, 20, 30, 50])
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_command_runs_is_not_lost(which: int, milliseconds: int) -> None:
    process = subprocess.Popen([ISOLATE, "sleep", "60"], start_new_session=True)
    time.sleep(milliseconds / 1000)
    os.killpg(process.pid, which)
    assert process.wait(5)


def test_standard_input_and_output_are_the_commands() -> None:
    assert run(ISOLATE, "cat", stdin="through\n") == "through\n"


def test_a_system_open_vswitch_cannot_be_reached() -> None:
    database = Path("/etc/openvswitch/conf.db")
    assert not list(database.parent.iterdir()), "these tests run under apps/isolate themselves"
    run("ovsdb-tool", "create", str(database), "/usr/share/openvswitch/vswitch.ovsschema")
    options = ("--detach", "--pidfile", "--no-chdir", "-vconsole:off", "--remote=punix:/run/openvswitch/db.sock")
    run("ovsdb-server", *options, str(database))
    assert run("ovs-vsctl", "--no-wait", "init") == ""
    with pytest.raises(LabError, match="database connection failed"):
        run(ISOLATE, "ovs-vsctl", "--timeout=2", "--no-wait", "init")
    assert run(ISOLATE, "ls", "-A", str(database.parent)) == ""
    assert len(run(ISOLATE, "ip", "-o", "link").splitlines()) == 1, "the loopback interface alone"
    run("ovs-appctl", "-t", "ovsdb-server", "exit")
    database.unlink()


def test_orphans_are_reaped() -> None:
    program = "(sleep 0.1 &); while pgrep -x sleep >/dev/null; do :; done"
    run(ISOLATE, "timeout", "5", "sh", "-c", program)
