"""The known differences of ovs-vtep: a sentence each, and in test_faults.py a test each."""

from enum import Enum


class Fault(Enum):
    """One that random sequences show; `predict` knows what exactly it does to a frame."""

    UNTAGGED_TAKES_ALL = "A binding of VLAN 0 takes every frame of its port that has a tag, with the tag."
    TAG_IS_OVERWRITTEN = "A frame that has a tag left and goes out by a VLAN gets no other tag, its own is changed."
    TUNNEL_TO_TUNNEL = "What a VTEP sends goes on to others, unless it is flooded and from one of unknown-dst."
    ARBITRARY_SERVICE_NODE = "In service_node mode the copy goes to any of the unknown-dst VTEPs."
    OLD_KEY = "A tunnel keeps the tunnel key of when it was made."
    FORMER_UNKNOWN_DST = "What a VTEP that has left unknown-dst floods goes to the bindings of when it left."
    LEARNED_AT_NO_BINDING = "An address stays learned at a binding that is gone while frames go to it, and 15 s longer."
    REMOTE_NOT_RESTORED = "A remote address that was seen at a port stays there for good, also when its binding goes."
    KEY_ZERO = "What a VTEP sends with VNI 0 goes to all other VTEPs, by the bridge for BFD."
    LAST_BINDING_MOVES = "A logical switch whose last binding is given to another keeps its bridge and its local rows."


class Avoided(Enum):
    """One that no random sequence gets to see: with it what ovs-vtep does is chance, or nothing at all."""

    UNTAGGED_AND_TAGGED = "Of a port's bindings of VLAN 0 and of another it is chance which gets the other's frames."
    SAME_KEY = "It ends when two logical switches with one tunnel key name the same VTEP in unknown-dst."
    FORGETS = "An address is forgotten when nothing was sent to it for 15 s, however much it sends."
    OTHER_MULTICAST = "Rows of Mcast_Macs_Remote for multicast addresses are ignored."
    PORT_NAMES = "A port whose name ends in -p has no row and cannot be bound."
