#!/bin/sh
# Make .venv in the current directory what the requirements say, with the Python interpreter $1.
#
# .venv/complete is written last and says what .venv was made from: one that was interrupted, or made from something else,
# is made anew. The lock keeps two of these apart, and lasts as long as any process of an installation does.

set -eu

exec 9>.venv.lock
flock 9
inputs=$(cat "$0" build-constraints.txt requirements.txt requirements-dev.txt setup.py | sha256sum)
wanted="$("$1" -c 'import sys; print(sys.version, sys.executable)') $PWD $inputs"
[ "$(cat .venv/complete 2>/dev/null)" != "$wanted" ] || exit 0

echo "making .venv ..."
rm -rf .venv
"$1" -m venv .venv
export PIP_CONSTRAINT="$PWD/build-constraints.txt" PIP_BUILD_CONSTRAINT="$PWD/build-constraints.txt"
.venv/bin/pip install --quiet --disable-pip-version-check --use-pep517 -r requirements.txt -r requirements-dev.txt -e .
echo "$wanted" >.venv/complete.new
mv .venv/complete.new .venv/complete
