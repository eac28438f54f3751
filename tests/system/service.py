"""The program as it is installed for a service, and a systemd that runs it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Self
from uuid import uuid4

from apps.lab import App, Node, run, wait_until

ROOT = Path(__file__).parents[2]
UNITS = "/run/units"
"""Where the systemd has its units, and nothing of this machine's."""

PREPARE = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir cgroup upper work root
mount -t cgroup2 cgroup2 cgroup
mkdir "cgroup/$2"
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
cd root
for directory in run tmp opt etc/systemd/system etc/openvswitch var/lib/openvswitch var/log/openvswitch; do
    mkdir -p $directory
    mount -t tmpfs -o mode=755 tmpfs $directory
done
chmod 1777 tmp
"""
BOOT = f"""
set -e
echo $$ >"$1/cgroup/$2/cgroup.procs"
exec unshare --cgroup --mount --pid --ipc --uts --fork --kill-child sh -c '
    set -e
    cd "$1/root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount --rbind /dev dev
    exec env -i container=lab PATH="$PATH" SYSTEMD_UNIT_PATH=/etc/systemd/system:{UNITS} SYSTEMD_GENERATOR_PATH=/none \\
        chroot . /lib/systemd/systemd --system --unit=basic.target --log-target=null --show-status=no
' sh "$1"
"""
END = """
set -e
cd "$1"
find "cgroup/$2" -depth -type d -exec rmdir {} +
cd /
umount --recursive "$1"
"""


def install(place: Path, scratch: Path, seen_as: str = "") -> None:
    """Put the program into a virtual environment at `place`, which is `seen_as` something else by those who run it.

    It is ours without the way back to the checkout, which not everybody can look into. An interpreter that is not the
    system's comes along, for the same reason.
    """
    seen = seen_as or str(place)
    upper, work = scratch / "upper", scratch / "work"
    package = upper / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix) / "vtep_ryu"
    shutil.copytree(ROOT / "vtep_ryu", package, ignore=shutil.ignore_patterns("__pycache__"))
    programs = upper / "bin"
    programs.mkdir()
    work.mkdir()
    for name in ("ryu-manager", "vtep-ryu"):
        (programs / name).write_text(Path(sys.prefix, "bin", name).read_text().replace(sys.prefix, seen))
        (programs / name).chmod(0o755)
    if sys.base_prefix != "/usr":
        (upper / "base").mkdir()
        (upper / "pyvenv.cfg").write_text(f"home = {seen}/base/bin\n")
        (programs / "python3").symlink_to(f"{seen}/base/bin/{Path(sys.executable).resolve().name}")
    run("mount", "-t", "overlay", "-o", f"lowerdir={sys.prefix},upperdir={upper},workdir={work}", "overlay", str(place))
    if sys.base_prefix != "/usr":
        run("mount", "--bind", sys.base_prefix, str(place / "base"))


def libraries(place: Path | str) -> str:
    """The environment in which an interpreter that came along finds what it is linked to."""
    return f"LD_LIBRARY_PATH={place}/base/lib"


CONFINE = """
set -e
mount -t tmpfs tmpfs /tmp
mount --bind "$1" "$1"
for place in $(cut -d " " -f 2 /proc/self/mounts); do
    case $place in "$1" | /tmp) ;; *) mount -o remount,bind,ro "$place" || true ;; esac
done
directory=$1 user=$2
shift 2
export OVS_RUNDIR="$directory" OVS_LOGDIR="$directory"
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""

WRITABLE = """
for place in $(cut -d " " -f 2 /proc/self/mounts); do
    [ ! -w "$place" ] || echo "$place"
done
"""


class Confined(App):
    """The application as a user of its own without privileges, who can write to one directory and to /tmp."""

    user = 65430

    def __init__(self, node: Node, directory: Path) -> None:
        """It is in `directory`, and writes to "run" there."""
        super().__init__(node, node.directory)
        self.run_directory, self._place = directory / "run", directory / "program"
        self._scratch = directory / "scratch"
        for each in (directory, self.run_directory, self._place, self._scratch):
            each.mkdir()
        os.chown(self.run_directory, self.user, self.user)
        (self.run_directory / "db.sock").symlink_to(node.socket)
        install(self._place, self._scratch)

    def program(self, name: str, *options: str) -> tuple[str, ...]:
        """The command line that runs one of our programs."""
        confine = ("unshare", "--mount", "--", "sh", "-c", CONFINE, "sh", str(self.run_directory), str(self.user))
        return (*confine, "env", libraries(self._place), f"{self._place}/bin/{name}", *options)

    def command(self, *options: str) -> tuple[str, ...]:
        return self.program("ryu-manager", "vtep_ryu.apps.vtep", *options)

    def writable(self) -> set[str]:
        """The file systems that its last start could write to, by where they are mounted."""
        there = ("nsenter", f"--target={self.process.pid}", "--mount")
        user = ("setpriv", "--reuid", str(self.user), "--regid", str(self.user), "--clear-groups")
        return set(run(*there, *user, "sh", "-c", WRITABLE).split())

    def close(self) -> None:
        """Remove the program."""
        run("umount", "--recursive", str(self._place))


class Systemd:
    """A systemd in a node's network, with the files of this machine, of which it changes none; use it with `with`."""

    def __init__(self, node: Node, directory: Path, place: str) -> None:
        """Its files will be in `directory`, and the program at `place` among them."""
        self.node = node
        self.root = directory / "root"
        self._directory = directory
        self._place = place
        self._where = (str(directory), f"vtep-test-{uuid4()}")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir()
        try:
            run("sh", "-c", PREPARE, "sh", *self._where)
            program, scratch = self.root / self._place[1:], self._directory / "program"
            for each in (program, scratch):
                each.mkdir()
            install(program, scratch, self._place)
            shutil.copytree(ROOT / "etc", program.parent / "etc")
            for target in ("sysinit", "basic", "shutdown", "multi-user"):
                self.add_unit(f"{target}.target", "[Unit]\nDefaultDependencies=no\n")
            self._process = self.node.popen("sh", "-c", BOOT, "sh", *self._where)
            wait_until(lambda: self.run("systemctl", "is-active", "basic.target"), 30, "systemd")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        wait_until(lambda: run("sh", "-c", END, "sh", *self._where) or True, what="the control group to be empty")

    def run(self, *argv: str) -> str:
        """Run a command there."""
        assert self._process
        process = self._process.pid
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
        return run("nsenter", f"--target={children.strip()}", "--all", "--root", "--wd", "--", *argv)

    def shell(self, line: str) -> str:
        """Run a line of shell there, in a copy of what this checkout has to install."""
        return self.run("sh", "-c", f"set -e; cd /opt; {line}")

    def add_unit(self, name: str, text: str) -> None:
        """A unit, or a drop-in of one."""
        file = self.root / UNITS[1:] / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
