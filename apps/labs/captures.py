"""What is on the links of a lab, in files: one for each, as tcpdump and Wireshark read them."""

import subprocess
from pathlib import Path

from mininet.link import Link
from mininet.net import Mininet

TCPDUMP = ("tcpdump", "--immediate-mode", "-U", "-n", "-Z", "root")


class Captures:
    """A tcpdump at every link, from now until close(), in a directory's file ONE-OTHER.pcap named after both ends.

    Where both are one machine, after that and its interface.
    """

    def __init__(self, net: Mininet, directory: Path) -> None:
        self._running = [self._begin(link, directory.resolve()) for link in net.links]
        for each in self._running:
            # With the first packet missing a capture would begin in the midst of what the page tells.
            while "listening on" not in (line := each.stderr.readline()):
                if not line:
                    raise OSError(f"no capture: {' '.join(each.args)}")

    @staticmethod
    def _begin(link: Link, directory: Path) -> subprocess.Popen[str]:
        end = link.intf1
        other = link.intf2.node.name if link.intf2.node is not end.node else end.name
        file = directory / f"{end.node.name}-{other}.pcap"
        return end.node.popen(*TCPDUMP, "-i", end.name, "-w", str(file), text=True)

    def close(self) -> None:
        """End all; what was seen is in the files."""
        for each in self._running:
            each.terminate()
        for each in self._running:
            each.communicate()
