"""A shorter sequence that shows the same."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(
    items: Sequence[T], fails: Callable[[tuple[T, ...]], bool], in_time: Callable[[], bool] = lambda: True
) -> tuple[T, ...]:
    """What is left of items that fail when as many as possible are taken out and the rest still fails.

    Larger pieces are tried before smaller ones. Ends early, with what it has, when it is not `in_time` any more.
    """
    left = tuple(items)
    size = max(1, len(left) // 2)
    while True:
        before, at = left, 0
        while at < len(left):
            if not in_time():
                return left
            rest = left[:at] + left[at + size :]
            if fails(rest):
                left = rest
            else:
                at += size
        if size == 1 and left == before:
            return left
        size = max(1, size // 2)
