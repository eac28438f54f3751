"""vtep_ryu.apps.logs: what a log line looks like."""

import io
import logging

from vtep_ryu.apps.logs import set_format


def line(handler: logging.StreamHandler[io.StringIO], port: str = "p0") -> str:
    record = logging.LogRecord("vtep_ryu", logging.WARNING, __file__, 1, "%s: port %s is gone", ("br0", port), None)
    record.created, record.msecs = 1795253400.25, 250.0
    handler.handle(record)
    return handler.stream.getvalue()


def test_a_line_begins_with_the_time_in_utc_and_the_level() -> None:
    handler = logging.StreamHandler(io.StringIO())
    assert set_format([handler])
    assert line(handler) == "2026-11-21T09:30:00.250Z WARNING br0: port p0 is gone\n"


def test_whatever_a_name_is_the_line_is_one_and_short() -> None:
    handler = logging.StreamHandler(io.StringIO())
    set_format([handler])
    forged = "x\n2026-11-21T09:30:00.250Z ERROR \x1b[2J\u2028é"
    assert line(handler, forged).count("\n") == 1
    assert r"port x\n2026-11-21T09:30:00.250Z ERROR \x1b[2J\u2028é is gone" in handler.stream.getvalue()
    assert len(line(handler, "long" * 100_000)) < 2000


def test_a_format_of_the_operators_is_left_alone() -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("<%(message)s>"))
    assert not set_format([handler])
    assert line(handler) == "<br0: port p0 is gone>\n"
