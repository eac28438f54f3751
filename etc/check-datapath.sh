#!/bin/sh
# Whether this machine can use the Open vSwitch datapath named as the argument, netdev or system; loads the kernel
# module that the second one is.

PATH=$PATH:/usr/sbin:/sbin

fail() {
    echo "$0: datapath '$datapath': $1" >&2
    exit 1
}

datapath=${1-}
case $datapath in
    netdev) ;;
    system)
        [ -d /sys/module/openvswitch ] || modprobe --quiet openvswitch 2>/dev/null ||
            fail "kernel $(uname -r) has no module openvswitch, or it cannot be loaded" ;;
    *) fail "netdev or system expected" ;;
esac
