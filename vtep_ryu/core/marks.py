"""By what this program's own is known in external_ids of the Open_vSwitch database."""

MARK = "vtep-ryu"
"""The key on ports and interfaces that it created; the value is a tunnel port's local address."""

FAIL_MODE_BEFORE = "vtep-ryu-fail-mode"
"""The key on a bridge that it made secure; the value is the fail_mode before, empty for none."""
