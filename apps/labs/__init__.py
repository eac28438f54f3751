"""The labs that people know, in Mininet: each is a topology and a page of docs/ that tells what to type there.

They run on the system's Python, whose Mininet it is, and need nothing but the standard library beside it.
"""
