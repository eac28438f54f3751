"""Unit tests of the pure core and of installation, system tests on real Open vSwitch."""
