"""What is wrong with the Physical_Port rows of one physical switch."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from vtep_ryu.core.bindings import Bindings
from vtep_ryu.core.model import PhysicalPort

LOG = logging.getLogger(__name__)

INVALID_VLAN_MAP = "invalid_vlan_map"


class PortFaults:
    """Says each thing once, for as long as it is the case, and keeps it for port_fault_status."""

    def __init__(self, physical_switch: str, bindings: Bindings) -> None:
        self._physical_switch = physical_switch
        self._bindings = bindings
        self._found: dict[str, dict[str, str]] = {}

    def keywords(self) -> dict[str, frozenset[str]]:
        """What port_fault_status has to say, by the UUID of the row; rows that all is well with are not named."""
        return {uuid: frozenset(found.values()) for uuid, found in self._found.items()}

    def look(self, uuid: str) -> None:
        """Take in that a row, or another one of its name, has come, changed or gone."""
        before, row = self._found.pop(uuid, {}), self._bindings.physical_port(uuid)
        if row is None:
            return
        found = dict(self._find(row))
        if found:
            self._found[uuid] = found
        for text in found:
            if text not in before:
                LOG.warning("%s: Physical_Port %s: %s", self._physical_switch, row.name, text)

    def _find(self, row: PhysicalPort) -> Iterable[tuple[str, str]]:
        """What is wrong with a row, in words, and its keyword."""
        for why in self._bindings.refusals(row.uuid):
            yield f"vlan_bindings: {why}; refused", INVALID_VLAN_MAP
