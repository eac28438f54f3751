"""Measurements of the application, of ovs-vtep and of the plain C tools, side by side on real Open vSwitch.

``python -m bench`` under apps/isolate; ``make bench`` does that, and draws the plots. docs/performance.rst explains the
figures.
"""
