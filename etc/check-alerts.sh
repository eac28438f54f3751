#!/bin/sh
# Check etc/alerts.yml, and run its tests, with promtool. That is in Debian's package prometheus, which is unpacked in
# build/ where promtool is not there already: nothing of it is installed.

set -eu
tool=$(command -v promtool || echo build/prometheus/usr/bin/promtool)
if [ ! -x "$tool" ]; then
    mkdir -p build
    (cd build && apt-get --quiet download prometheus)
    dpkg-deb --extract build/prometheus_*.deb build/prometheus
fi
"$tool" check rules etc/alerts.yml
"$tool" test rules etc/alerts_test.yml
