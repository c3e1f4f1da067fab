#!/bin/sh
# Makes .venv with Debian's own python3 from the hashed lock, and the project itself on top, as
# an editable package. Does nothing when the lock has not changed since.
#
# usage: scripts/venv.sh runtime|dev     (dev holds all of runtime)
set -eu
cd "$(dirname "$0")/.."

kind=${1:-runtime}
case $kind in
runtime | dev) ;;
*) echo "usage: scripts/venv.sh runtime|dev" >&2; exit 2 ;;
esac

python=/usr/bin/python3
stamp=.venv/netguard-stamp
# The stamp names the place too: a moved checkout has scripts that point to the old one.
hash_of() {
    { pwd; "$python" --version; cat "requirements/$1.txt" pyproject.toml scripts/venv.sh; } |
        sha256sum | cut -d' ' -f1
}

wanted="$kind $(hash_of "$kind")"
if [ -f "$stamp" ] && grep -qxF "$wanted" "$stamp"; then
    exit 0
fi
if [ "$kind" = runtime ] && [ -f "$stamp" ] && grep -qxF "dev $(hash_of dev)" "$stamp"; then
    exit 0
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "venv: $python 3.11 or later is needed (Debian 12 or 13)" >&2
    exit 1
fi

# A half-made environment is made anew; one of the other kind is completed.
if [ ! -f "$stamp" ] || [ ! -x .venv/bin/python ]; then
    echo "venv: making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
rm -f "$stamp"
echo "venv: installing requirements/$kind.txt"
.venv/bin/python -m pip install -qq --no-input --disable-pip-version-check --require-hashes \
    --no-deps -r "requirements/$kind.txt" </dev/null
echo "venv: installing netguard"
.venv/bin/python -m pip install -qq --no-input --disable-pip-version-check --no-deps \
    --no-build-isolation -e . </dev/null
.venv/bin/python -m pip check --disable-pip-version-check >/dev/null
# A dev environment serves as runtime too, so its stamp is the one to keep.
echo "$wanted" >"$stamp"
echo "venv: ready: .venv/bin/netguard"
