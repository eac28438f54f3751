"""The demo: one logical network across two switches, built step by step and explained on the way.

    apps/isolate .venv/bin/python -m apps.demo

The exit status is 0 only if every ping was answered and every expected row was there, 1 if something
was not as it should be, 130 after Ctrl-C. With --keep everything is left running at the end, until
Ctrl-C or `apps/lab-enter --stop`.
"""

import argparse
import contextlib
import signal
import sys

HOW_TO = """
The lab runs until Ctrl-C here. In another terminal, from this directory:

  which machines there are:                apps/lab-enter
  a shell on host h1 (end it with exit):   apps/lab-enter h1
  one command there:                       apps/lab-enter h1 ping -c 3 192.168.1.3
  drive the VTEP of switch s1:             apps/lab-enter s1 vtep-ctl list-local-macs ls0
  see its flows:                           apps/lab-enter s1 ovs-ofctl -O OpenFlow13 dump-flows br0
  see what its application has logged:     apps/lab-enter s1 sh -c 'cat $OVS_LOGDIR/app-1.log'
  capture the tunnel (ping meanwhile):     apps/lab-enter s1 tcpdump -n -i eth1 udp port 4789
  end the lab:                             apps/lab-enter --stop
"""


def stay() -> None:
    """Say how to use what is there, and wait to be interrupted."""
    print(HOW_TO, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    print("\nending the lab", flush=True)


def demonstrate(keep: bool) -> int:
    """Build the lab and tell the story; the exit status."""
    from apps.lab import Lab, LabError
    from apps.story import Story

    with Lab() as lab:
        story = Story(lab)
        try:
            story.run()
        except LabError as error:
            logs = (node.app.tail() for node in story.nodes)
            print(f"\nFAILED: {error}", *logs, f"\nFAILED: {str(error).splitlines()[0]}", sep="\n", flush=True)
            return 1
        if keep:
            stay()
    return 0


def main() -> int:
    """Run the demo; the exit status."""
    parser = argparse.ArgumentParser(
        prog="apps.demo", description="two switches and four hosts, explained", epilog="make demo; make lab"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    try:
        return demonstrate(parser.parse_args().keep)
    except KeyboardInterrupt:
        print("\ninterrupted; everything is removed", flush=True)
        return 130


if __name__ == "__main__":
    sys.exit(main())
