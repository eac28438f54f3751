#!/bin/sh
# Make build/vtep-ryu_VERSION_ARCHITECTURE.deb with the Debian Python $1: docs/packages.rst.
#
# The program is in a virtual environment at its place in /opt/vtep_ryu, with the packages of requirements.txt, so that it
# depends on no Python package of Debian's, and is what the tests ran with. Its manual pages are those of "make docs", which
# comes before this. No debhelper: it has nothing to add to that.

set -eu

python=$1
here=$PWD
place=/opt/vtep_ryu
name=vtep-ryu

[ "$("$python" -c 'import sys; print(sys.prefix == "/usr")')" = True ] || {
    echo "$0: $python is not Debian's Python, which the package is for" >&2
    exit 1
}
mkdir -p build
root=$(mktemp -d "$here/build/deb.XXXXXX")
source=$(mktemp -d)
trap 'rm -rf "$root" "$root.deb" "$source"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$root"
umask 022

"$python" -m venv "$root$place"
export PIP_CONSTRAINT="$here/build-constraints.txt" PIP_BUILD_CONSTRAINT="$here/build-constraints.txt"
# From a copy: what pip builds in a checkout stays there, and would be in the next package.
cp -r setup.py pyproject.toml MANIFEST.in LICENSE README.rst vtep_ryu "$source"
pip="$root$place/bin/pip --disable-pip-version-check"
$pip install --quiet --no-compile --use-pep517 -r requirements.txt "$source"
$pip check
$pip uninstall --quiet --yes --root-user-action=ignore pip

# What was written for the place where it was made is for the place where it will be.
grep --recursive --files-with-matches --binary-files=without-match "$root" "$root$place" | xargs sed --in-place "s|$root||g"
rm -rf "$root$place"/bin/activate* "$root$place"/bin/Activate.ps1 "$root$place/share"
find "$root$place" -name direct_url.json -delete
find "$root$place" -name __pycache__ -type d -prune -exec rm -rf {} +
packages="$root$place/lib/python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')/site-packages"
"$python" -W ignore -m compileall -q -j 0 -s "$root" -p / --invalidation-mode unchecked-hash "$packages"
if found=$(grep --recursive --files-with-matches "$root" "$root$place"); then
    echo "$0: these still name the place where they were made:" "$found" >&2
    exit 1
fi

put() {
    install -D --mode 644 "$1" "$root$2"
}
put etc/vtep_ryu.service /lib/systemd/system/vtep_ryu.service
put etc/vtep_ryu@.service /lib/systemd/system/vtep_ryu@.service
put etc/ovsdb-server.conf /lib/systemd/system/ovsdb-server.service.d/vtep_ryu.conf
put etc/vtep_ryu.sysusers /usr/lib/sysusers.d/vtep_ryu.conf
put etc/vtep_ryu.conf /etc/vtep_ryu.conf
put etc/vtep_ryu.logrotate /etc/logrotate.d/vtep_ryu
put etc/alerts.yml /usr/share/$name/alerts.yml
put etc/grafana-dashboard.json /usr/share/$name/grafana-dashboard.json
put LICENSE /usr/share/doc/$name/copyright
put README.rst /usr/share/doc/$name/README.rst
put NEWS.rst /usr/share/doc/$name/NEWS.rst
for page in docs/*.rst; do
    put "$page" "/usr/share/doc/$name/$page"
done
for page in vtep-ryu.8 vtep_ryu.conf.5; do
    put "build/docs/man/$page" "/usr/share/man/man${page##*.}/$page"
    gzip -9 --no-name "$root/usr/share/man/man${page##*.}/$page"
done
mkdir -p "$root/usr/bin"
ln -s $place/bin/vtep-ryu "$root/usr/bin/vtep-ryu"

mkdir "$root/DEBIAN"
version=$("$python" -c 'import re; print(re.search(r"version=\"(.+)\"", open("setup.py").read()).group(1))')
architecture=$(dpkg --print-architecture)
"$python" - >"$root/DEBIAN/control" <<END
import sys
from string import Template
lowest, below = ("%d.%d" % (sys.version_info[0], sys.version_info[1] + more) for more in (0, 1))
values = {"version": "$version", "architecture": "$architecture", "size": "$(du -sk "$root" | cut -f 1)"}
print(Template(open("etc/debian/control").read()).substitute(values, lowest=lowest, below=below), end="")
END
printf '%s\n' /etc/vtep_ryu.conf /etc/logrotate.d/vtep_ryu >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install --mode 755 "etc/debian/$script" "$root/DEBIAN/$script"
done
package="build/${name}_${version}_$architecture.deb"
dpkg-deb --root-owner-group --build "$root" "$root.deb" >/dev/null
mv "$root.deb" "$package"
echo "$package"
