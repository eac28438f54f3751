#!/bin/sh
# For etc/debian/test.sh, on a Debian that runs: have the package $1 installed, replaced by its next version $2 and back,
# removed and purged, each under traffic, of which nothing may be lost. docs/packages.rst says what is to come of it.

set -eu

old=$1
new=$2
LOG=/var/log/vtep_ryu/events.jsonl

fail() {
    echo "FAILED: $1" >&2
    journalctl --no-pager --lines 40 --unit 'vtep_ryu*' >&2
    exit 1
}

wait_until() {
    what=$1
    shift
    for _ in $(seq 120); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.5
    done
    fail "$what: never"
}

# A version serves br0, by the instance that has the run directory vtep_ryu$2.
serves() {
    status=$(ovs-appctl -t "/run/vtep_ryu${2:-}"/vtep_ryu.*.ctl vtep/status | tr -d ' \n') || return 1
    case $status in *'"bridges":["br0"]'*"\"version\":\"$1\""*) ;; *) return 1 ;; esac
}

# An instance of a version has br0, its own or not.
has_switch() {
    status=$(ovs-appctl -t "/run/vtep_ryu-$2"/vtep_ryu.*.ctl vtep/status | tr -d ' \n') || return 1
    case $status in *'"bridges":["br0"]'*"\"version\":\"$1\""* | *'"standby":["br0"]'*"\"version\":\"$1\""*) ;; *) return 1 ;; esac
}

version() {
    dpkg-deb --field "$1" Version
}

# Run a command while vm1 pings vm2 a hundred times a second, and a second longer. Of what was answered last nothing before
# may be missing; what comes after each such command needs the rest.
under_traffic() {
    ip netns exec vm1 ping -i 0.01 192.168.1.2 >/root/ping &
    ping=$!
    sleep 1
    "$@"
    sleep 1
    kill -INT $ping
    wait $ping || true
    answers=$(grep --count icmp_seq= /root/ping)
    last=$(sed -n 's/.*icmp_seq=\([0-9]*\).*/\1/p' /root/ping | tail -n 1)
    [ "$answers" = "$last" ] || fail "$*: $answers of $last frames came through"
    ip netns exec vm1 ping -q -c 2 -i 0.2 192.168.1.2 >/dev/null || fail "$*: no frame came through in the end"
    echo "    $answers of $last frames came through"
}

get() {
    apt-get install --quiet=2 --yes --allow-downgrades --reinstall -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
        "$@" </dev/null >/root/apt.log 2>&1 || { cat /root/apt.log >&2; fail "apt-get install $*"; }
}

install() {
    get "$1"
    wait_until "$(version "$1") serves br0" serves "$(version "$1")"
}

local_macs() {
    vtep-ctl list-local-macs ls0
}

knows_both() {
    [ "$(local_macs | grep --count ' -> ')" = 3 ]
}

is_learned() {
    ip netns exec vm1 ping -c 1 -W 1 192.168.1.2 && knows_both
}

echo "=== a switch with two stations"
ovsdb-tool create /etc/openvswitch/vtep.db /usr/share/openvswitch/vtep.ovsschema
echo 'OVS_CTL_OPTS="--extra-dbs=/etc/openvswitch/vtep.db --ovsdb-server-options=--remote=db:hardware_vtep,Global,managers"' \
    >>/etc/default/openvswitch-switch
systemctl start openvswitch-switch
ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev
ip address add 10.2.2.1/24 dev lo
for number in 1 2; do
    ip netns add vm$number
    ip link add p$number type veth peer name eth0 netns vm$number
    ip link set p$number up
    ip -n vm$number link set eth0 up
    ip -n vm$number address add 192.168.1.$number/24 dev eth0
    ip netns exec vm$number ethtool -K eth0 tx off >/dev/null
    ovs-vsctl add-port br0 p$number
done
vtep-ctl add-ps br0 -- set Physical_Switch br0 tunnel_ips=10.2.2.1

echo "=== $(version "$old"), installed and configured"
get "$old"
ovs-vsctl set-controller br0 tcp:127.0.0.1:6653
wait_until "it serves br0" serves "$(version "$old")"
vtep-ctl add-ls ls0 -- bind-ls br0 p1 0 ls0 -- bind-ls br0 p2 0 ls0 -- set Logical_Switch ls0 tunnel_key=33
wait_until "both addresses" is_learned
macs=$(local_macs)
sed -i "s|^#event_log =.*|event_log = $LOG|" /etc/vtep_ryu.conf
grep --quiet "^event_log = $LOG" /etc/vtep_ryu.conf || fail "etc/vtep_ryu.conf has no event_log"
systemctl restart vtep_ryu
wait_until "it serves br0" serves "$(version "$old")"
vtep-ryu doctor br0 >/root/doctor || [ $? = 1 ] || fail "vtep-ryu doctor: $(cat /root/doctor)"
vtep-ryu --cleanup br0 2>/root/refused && fail "vtep-ryu --cleanup while it is served"
grep --quiet 'systemctl stop vtep_ryu)$' /root/refused || fail "$(cat /root/refused)"
man --where vtep-ryu vtep_ryu.conf
man vtep-ryu | grep --quiet 'vtep-ryu - make an Open vSwitch bridge' || fail "man vtep-ryu"

echo "=== its event log, rotated"
vtep-ctl unbind-ls br0 p2 0
wait_until "an event" test -s $LOG
logrotate --force /etc/logrotate.d/vtep_ryu
[ -s $LOG.1 ] && [ ! -e $LOG ] || fail "logrotate: $(ls -l /var/log/vtep_ryu)"
vtep-ctl bind-ls br0 p2 0 ls0
wait_until "both addresses" is_learned
wait_until "an event in the next file" test -s $LOG

# One start each, which finds what there is: no row goes, and what was configured stays.
for package in "$new" "$new" "$old"; do
    echo "=== $(version "$package") over it"
    since=$(date '+%F %T.%N')
    under_traffic install "$package"
    [ "$(local_macs)" = "$macs" ] || fail "addresses: $(local_macs)"
    starts=$(journalctl --quiet --unit vtep_ryu --since "$since" | grep --count ' INFO vtep_ryu [0-9]')
    [ "$starts" = 1 ] || fail "$starts starts"
    grep --quiet "^event_log = $LOG" /etc/vtep_ryu.conf || fail "/etc/vtep_ryu.conf is not as it was changed"
done
vtep-ctl unbind-ls br0 p2 0 -- bind-ls br0 p2 7 ls0
wait_until "a change to be followed" sh -c 'ovs-ofctl -O OpenFlow13 dump-flows br0 | grep dl_vlan=7'
vtep-ctl unbind-ls br0 p2 7 -- bind-ls br0 p2 0 ls0
wait_until "a ping" ip netns exec vm1 ping -c 1 -W 1 192.168.1.2

echo "=== switched off, it stays so"
systemctl disable --now --quiet vtep_ryu
under_traffic get "$new"
! systemctl --quiet is-active vtep_ryu || fail "started"
! systemctl --quiet is-enabled vtep_ryu 2>/dev/null || fail "enabled"

echo "=== two instances, one after the other"
vtep-ctl set-manager ptcp:6640:127.0.0.1
vtep-ctl set Manager ptcp:6640:127.0.0.1 inactivity_probe=2000
sed -i 's/^\[vtep\]/[vtep]\nhardware_vtep_remotes = tcp:127.0.0.1:6640/' /etc/vtep_ryu.conf
systemctl enable --now --quiet vtep_ryu@6653 vtep_ryu@6654
ovs-vsctl set-controller br0 tcp:127.0.0.1:6653 tcp:127.0.0.1:6654
for port in 6653 6654; do
    wait_until "$port" has_switch "$(version "$new")" $port
done
since=$(date '+%F %T.%N')
under_traffic get "$old"
for port in 6653 6654; do
    wait_until "$port" has_switch "$(version "$old")" $port
done
# The first had its switch again when the second began.
journalctl --quiet --unit 'vtep_ryu@*' --since "$since" --output cat >/root/journal
order=$(sed -n 's/.* INFO vtep_ryu .*/start/p; s/.* INFO switch .* connected/switch/p' /root/journal | tr '\n' ' ')
[ "$order" = "start switch start switch " ] || fail "in the order $order"
systemctl disable --now --quiet vtep_ryu@6653 vtep_ryu@6654
sed -i /^hardware_vtep_remotes/d /etc/vtep_ryu.conf
vtep-ctl del-manager
ovs-vsctl set-controller br0 tcp:127.0.0.1:6653

echo "=== removed, and back"
systemctl enable --now --quiet vtep_ryu
wait_until "it serves br0" serves "$(version "$old")"
under_traffic apt-get remove --quiet=2 --yes -o Dpkg::Use-Pty=0 vtep-ryu >/dev/null
[ ! -e /run/vtep_ryu ] && [ ! -e /usr/bin/vtep-ryu ] || fail "it is there"
under_traffic install "$old"
grep --quiet "^event_log = $LOG" /etc/vtep_ryu.conf || fail "/etc/vtep_ryu.conf is not as it was changed"

echo "=== away, by the page, with all that it put into the switch"
systemctl disable --now --quiet vtep_ryu
vtep-ryu --cleanup br0
apt-get purge --quiet=2 --yes -o Dpkg::Use-Pty=0 vtep-ryu >/dev/null
[ "$(ovs-vsctl list-ports br0 | tr '\n' ' ')" = "p1 p2 " ] || fail "$(ovs-vsctl show)"
[ "$(stat --format %G:%a /run/openvswitch/db.sock)" = root:750 ] || fail "$(stat /run/openvswitch/db.sock)"

echo "=== where ovs-vtep runs"
/usr/share/openvswitch/scripts/ovs-vtep --log-file --pidfile --detach br0
wait_until "both addresses" is_learned
under_traffic get "$old"
! systemctl --quiet is-active vtep_ryu || fail "started beside ovs-vtep"
! systemctl --quiet is-enabled vtep_ryu || fail "enabled beside ovs-vtep"
under_traffic get "$new"
! systemctl --quiet is-enabled vtep_ryu || fail "enabled beside ovs-vtep, by an upgrade"
ovs-appctl -t ovs-vtep exit
vtep-ryu --pidfile --detach br0
ovs-appctl -t vtep-ryu exit
ovs-vsctl set-controller br0 tcp:127.0.0.1:6653
systemctl enable --now --quiet vtep_ryu
wait_until "it serves br0" serves "$(version "$new")"
wait_until "a ping" ip netns exec vm1 ping -c 1 -W 1 192.168.1.2
