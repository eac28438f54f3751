"""Which of Open vSwitch's datapaths the labs use, and what happens when there is no such one."""

import subprocess

import pytest

from apps.lab import Lab, LabError
from apps.lab.datapath import chosen

NO_MODULE = "mount -t tmpfs none /sys/module; [ ! -d /lib/modules ] || mount -t tmpfs none /lib/modules; "
"""Shell for a mount namespace: this kernel has no modules."""


def refused(line: str) -> str:
    """Run a line of shell that has to fail without a word on standard output; what it wrote on standard error."""
    shell = ("env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "unshare", "--mount", "sh", "-c", line)
    done = subprocess.run(shell, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize("target", ["test", "test-long", "demo", "lab"])
@pytest.mark.parametrize("name", ["kernel", "", "netdev system"])
def test_make_refuses_a_datapath_that_does_not_exist_before_anything_else(target: str, name: str) -> None:
    message, _ = refused(f"make {target} DATAPATH='{name}'").splitlines()
    assert message == f"etc/check-datapath.sh: datapath '{name}': netdev or system expected"


@pytest.mark.parametrize("target", ["test", "demo", "lab"])
def test_make_refuses_the_datapath_of_a_kernel_that_does_not_have_it(target: str) -> None:
    message, _ = refused(f"{NO_MODULE} make {target} DATAPATH=system").splitlines()
    assert "has no module openvswitch, or it cannot be loaded" in message


def test_a_lab_refuses_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTEP_DATAPATH", "kernel")
    with pytest.raises(LabError, match="datapath 'kernel': netdev or system expected"):
        Lab("refused-")


def test_the_datapath_is_the_userspace_one_unless_another_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VTEP_DATAPATH", raising=False)
    assert chosen().type == "netdev"


def test_every_bridge_of_a_lab_is_in_the_chosen_datapath_and_in_no_other(lab: Lab) -> None:
    node = lab.node("node", "10.2.2.1/24")
    (datapath,) = (line for line in node.appctl("ovs-vswitchd", "dpif/show").splitlines() if not line.startswith(" "))
    assert datapath.startswith(f"{chosen().type}@")
