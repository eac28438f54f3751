#!/bin/sh
# Install the Debian packages named as arguments, those that are missing.
#
# Services of new packages (Open vSwitch's for one) are not started now: while this runs, a policy-rc.d forbids it. That
# file looks whether this installation still holds its lock, so even one left behind by kill -9 forbids nothing later.

set -eu

lock=/var/lib/apt
policy=/usr/sbin/policy-rc.d
rule="flock --nonblock --conflict-exit-code 101 $lock true  # placed by vtep_ryu, harmless"

missing() {
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
    done
}

is_ours() {
    grep --quiet --line-regexp --fixed-strings "$rule" "$policy" 2>/dev/null
}

install() {
    apt-get install --yes --quiet --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@"
}

[ -n "$(missing "$@")" ] || is_ours || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "$0: needs root to install: $(missing "$@")" >&2
    exit 1
fi

exec 9<"$lock"
flock 9
if [ ! -e "$policy" ] || is_ours; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\n%s\n' "$rule" >"$policy.new"
    chmod 755 "$policy.new"
    mv "$policy.new" "$policy"
fi
wanted=$(missing "$@")
[ -n "$wanted" ] || exit 0

export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-cache show $wanted >/dev/null 2>&1 || apt-get update --quiet
# An interrupted installation and an outdated package list are both mended, once.
# shellcheck disable=SC2086
install $wanted || { dpkg --configure -a --force-confold; apt-get update --quiet; install $wanted; }
