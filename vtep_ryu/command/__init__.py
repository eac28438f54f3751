"""``vtep-ryu``: the command line of ``ovs-vtep``, for people who want neither ryu-manager nor set-controller."""
