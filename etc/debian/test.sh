#!/bin/sh
# Install the package $1 on a clean Debian, follow docs/how-to.rst there, purge it, and see that nothing of it is left. Then
# start that Debian's systemd, and do what running.sh has there.
#
# The Debian is made by debootstrap from the mirror that this machine's apt has, in a directory that goes at the end. Needs
# root and the network; takes some minutes.

set -eu

package=$(realpath "$1")
if [ "${2:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "$0: needs root, to make a Debian of its own" >&2; exit 1; }
    groups=$(mktemp -d)
    mount -t cgroup2 cgroup2 "$groups"
    group=$groups/vtep-deb-$$
    mkdir "$group"
    # What was killed stays in its group until it is gone, and systemd makes more groups in its own.
    trap 'while [ -d "$group" ] && ! find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.2; done
        umount "$groups"; rmdir "$groups"' EXIT
    trap 'exit 1' HUP INT TERM
    unshare --mount --pid --fork --kill-child --mount-proc -- "$0" "$package" inside "$group"
    exit
fi
group=$3

suite=bookworm
mirror=$(apt-cache policy | grep --only-matching --max-count 1 "http[^ ]*/debian $suite/main" | cut -d ' ' -f 1)
root=$(mktemp -d)
trap 'cd /; umount --recursive "$root"; rmdir "$root"' EXIT
trap 'exit 1' HUP INT TERM
mount -t tmpfs -o mode=755 tmpfs "$root"

echo "=== a clean Debian from $mirror"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root/log" || { tail "$root/log" >&2; exit 1; }
rm "$root/log"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"  # There is no init that could start services.
chmod +x "$root/usr/sbin/policy-rc.d"
for file in /etc/resolv.conf /etc/hosts; do
    cat "$file" >"$root$file"
done
mkdir "$root/test"
cp -r apps docs etc/debian/running.sh "$package" "$root/test"

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" "$@"
}

get() {
    inside apt-get install --quiet=2 --yes -o Dpkg::Use-Pty=0 "$@" >"$root/test/apt.log" 2>&1 || {
        cat "$root/test/apt.log" >&2
        exit 1
    }
}

# What is there, but for what apt, dpkg and libuuid, which makes UUIDs, note of their own work, and what is no file system
# of the Debian's.
state() {
    (cd "$root" && find . -xdev \( -path ./test -o -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp \
        -o -path ./var/cache -o -path ./var/lib/apt -o -path ./var/lib/dpkg -o -path './var/log/apt' -o -name dpkg.log \
        -o -path ./var/lib/libuuid/clock.txt -o -name .pwd.lock \) -prune \
        -o -printf '%p %y %m %u %g\n')
    grep --invert-match --no-messages '^_' "$root/etc/passwd" "$root/etc/group" "$root/etc/shadow" "$root/etc/gshadow" |
        sed "s|^$root||"
    ls "$root/var/lib/dpkg/info" "$root/var/log"
    inside dpkg-query --show --showformat '${Package} ${db:Status-Abbrev}\n'
}

echo "=== what it depends on, and what the page needs"
get openvswitch-switch openvswitch-vtep systemd mininet iproute2 iputils-ping ethtool tcpdump procps logrotate man-db
state | sort >"$root/test/before"

echo "=== $(basename "$package")"
get "/test/$(basename "$package")"
inside vtep-ryu --version
inside getent passwd vtep_ryu
[ "$(inside systemctl is-enabled vtep_ryu.service)" = enabled ]

echo "=== docs/how-to.rst"
inside sh -c 'cd /test && apps/isolate /usr/bin/python3 -B -m apps.labs.how_to --test'

echo "=== again, as an upgrade: what was configured stays"
echo "# a change" >>"$root/etc/vtep_ryu.conf"
inside dpkg --force-confold --install "/test/$(basename "$package")" >/dev/null
[ "$(tail -n 1 "$root/etc/vtep_ryu.conf")" = "# a change" ]

echo "=== and away, with what the service would leave"
inside install --directory --owner vtep_ryu --group vtep_ryu --mode 750 /var/log/vtep_ryu
inside install --owner vtep_ryu --group vtep_ryu --mode 640 /dev/null /var/log/vtep_ryu/events.jsonl
inside apt-get purge --quiet=2 --yes vtep-ryu >/dev/null
state | sort >"$root/test/after"
difference=$(diff "$root/test/before" "$root/test/after") || { printf 'left or lost:\n%s\n' "$difference" >&2; exit 1; }
echo "=== nothing is left of it"

echo "=== the next version of it, which is the same but for its number"
current=$(dpkg-deb --field "$package" Version)
version=${current%.*}.$((${current##*.} + 1))
next=vtep-ryu_${version}_$(dpkg-deb --field "$package" Architecture).deb
dpkg-deb --raw-extract "$package" "$root/test/next"
sed -i "s/^Version: .*/Version: $version/" "$root/test/next/DEBIAN/control"
echo "# of $version" >>"$root/test/next/etc/vtep_ryu.conf"
init=$(echo "$root"/test/next/opt/vtep_ryu/lib/python3.*/site-packages/vtep_ryu/__init__.py)
sed -i "s/\"$current\"/\"$version\"/" "$init"
inside python3 -m compileall -q -f --invalidation-mode unchecked-hash "${init#"$root"}"
dpkg-deb --root-owner-group -Zgzip -z1 --build "$root/test/next" "$root/test/$next" >/dev/null

echo "=== systemd, as process 1 of that Debian"
rm "$root/usr/sbin/policy-rc.d"
echo $$ >"$group/cgroup.procs"
# shellcheck disable=SC2016
unshare --cgroup --mount --pid --ipc --uts --net --fork --kill-child sh -c '
    set -e
    ip link set lo up
    cd "$1"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs run
    exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --system --unit=basic.target \
        --log-target=null --show-status=no
' sh "$root" &
outside=$!
running() {
    nsenter --target "$(tr -d " " </proc/$outside/task/$outside/children)" --all --root --wd -- env -i HOME=/root LC_ALL=C.UTF-8 \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}
for _ in $(seq 120); do
    ! running systemctl --quiet is-active basic.target 2>/dev/null || break
    sleep 0.5
done
running /test/running.sh "/test/$(basename "$package")" "/test/$next"
echo "=== all of it is as docs/packages.rst says"
