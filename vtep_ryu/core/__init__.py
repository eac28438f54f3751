"""The VTEP's logic: pure values and functions.

Nothing in this package imports ryu, ovs or eventlet, reads a clock or the environment, or does I/O.
"""
