"""A VXLAN hardware VTEP made of one Open vSwitch bridge and one Ryu application."""

__version__ = "0.1.0"
