"""``vtep-ryu doctor``: what people get wrong, looked for on the machine itself; what is found comes with what to do.

The facts are gathered first, from both databases, Open vSwitch and the kernel. Each check is a function over them.
"""
