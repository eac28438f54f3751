"""OpenFlow's roles (section 6.3.6): of a switch's controllers one is its master, and slaves cannot change anything.

A master is chosen by nobody: who says that it is one is. What is said with an older generation_id than the switch knows
is refused, so one that says it late, of long ago, is not heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser

GENERATIONS = (1 << 64) - 1
"""The largest generation_id, after which comes 0; also what Open vSwitch answers where nobody has said one yet."""

ONF = 0x4F4E4600
ROLE_STATUS = 1911
"""OpenFlow 1.4's role status, as the ONF has it for 1.3 (EXT-191)."""

TRIES = 10


class Overtaken(Exception):
    """Another has been the master since we last were."""


class Roles:
    """What this program is to a switch. request returns the replies to a message, and raises refused for an error."""

    def __init__(self, datapath: Any, request: Callable[[Any], list[Any]], refused: type[Exception]) -> None:
        self._datapath = datapath
        self._request = request
        self._refused = refused

    def lead(self, before: int | None) -> int:
        """Be the master, whoever was it is a slave from then on; return the generation_id that was said.

        before is the one that we said last, if any, and the switch may have been lost since.

        Raises Overtaken where another has said a later one. A switch that knows none was started anew.
        """
        return self._be(ofp.OFPCR_ROLE_MASTER, 1, before)

    def follow(self) -> None:
        """Be a slave."""
        self._be(ofp.OFPCR_ROLE_SLAVE, 0)

    def _be(self, role: int, later: int, before: int | None = None) -> int:
        tries_left = TRIES
        while True:
            (reply,) = self._request(parser.OFPRoleRequest(self._datapath, ofp.OFPCR_ROLE_NOCHANGE, 0))
            known: int = reply.generation_id
            if before is not None and known not in (before, GENERATIONS):
                raise Overtaken
            generation = known + later & GENERATIONS
            try:
                self._request(parser.OFPRoleRequest(self._datapath, role, generation))
            except self._refused:  # Somebody was faster, and has said a later one.
                tries_left -= 1
                if not tries_left:
                    raise
            else:
                return generation


def is_demotion(message: Any) -> bool:
    """Whether a switch says by this that another is its master: on its own account, or as it refuses a change."""
    match message:
        case parser.OFPErrorMsg():
            return bool(message.type == ofp.OFPET_BAD_REQUEST and message.code == ofp.OFPBRC_IS_SLAVE)
        case parser.OFPExperimenter(experimenter=experimenter, exp_type=kind, data=data):
            is_status = (experimenter, kind) == (ONF, ROLE_STATUS)
            return is_status and int.from_bytes(data[:4]) == ofp.OFPCR_ROLE_SLAVE
    return False
