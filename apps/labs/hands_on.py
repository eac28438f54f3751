"""The VXLAN hands-on lab: two hypervisors with a VTEP each, a virtual machine on both, and the wire between them."""

import sys

from apps.labs.session import Lab, main


class HandsOn(Lab):
    """Two hypervisors, hv1 (10.0.0.1) and hv2 (10.1.0.1), with a link between their eth0."""

    page = "lab-hands-on.rst"

    def build(self) -> None:
        self.hv1, self.hv2 = self.machine("hv1"), self.machine("hv2")
        macs = {"addr1": "02:42:0a:00:00:01", "addr2": "02:42:0a:01:00:01"}
        self.net.addLink(self.hv1, self.hv2, intfName1="eth0", intfName2="eth0", **macs)

    def configure(self) -> None:
        for machine, address in ((self.hv1, "10.0.0.1/8"), (self.hv2, "10.1.0.1/8")):
            machine.start_open_vswitch("conf", "vtep")
            machine.put_underlay_on_a_bridge("eth0", address)


if __name__ == "__main__":
    sys.exit(main(HandsOn))
