#!/bin/sh
# Makes dist/netguard-VERSION.tar.gz: all that an appliance without a way to the Internet needs beside
# Debian's own packages. Wheels for the Pythons of Debian 12 and 13 from the hashed lock, ours among
# them, radius_hooks, units, documents, dashboards, and the script that installs them.
#
# usage: scripts/bundle.sh [LABEL]     (LABEL is appended to the version, such as a build number)
# NETGUARD_BUNDLE_PYTHONS="11" packs for Python 3.11 alone.
set -eu
cd "$(dirname "$0")/.."

label=${1:-}
python=.venv/bin/python
[ -x "$python" ] || { echo "bundle: no .venv here, run: make setup" >&2; exit 2; }
case $label in
*[!a-z0-9.]*) echo "bundle: '$label' is no label, write lower-case letters, digits and dots" >&2; exit 2 ;;
esac

version=$("$python" -c 'import netguard; print(netguard.__version__)')${label:++$label}
name=netguard-$version
work=.cache/bundle/$name
rm -rf "$work"
mkdir -p "$work/wheels" dist

pip() {
    "$python" -m pip "$@" -qq --no-input --disable-pip-version-check </dev/null
}

for minor in ${NETGUARD_BUNDLE_PYTHONS:-11 13}; do
    echo "bundle: wheels for Python 3.$minor"
    pip download --require-hashes --no-deps --only-binary :all: --dest "$work/wheels" \
        --implementation cp --python-version "3.$minor" --abi "cp3$minor" --abi abi3 --abi none \
        --platform "manylinux_2_17_$(uname -m)" --platform "manylinux_2_28_$(uname -m)" \
        --platform "manylinux_2_34_$(uname -m)" --platform "manylinux2014_$(uname -m)" \
        -r requirements/appliance.txt
done
echo "bundle: netguard $version"
pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheels" .
ours=$(cd "$work/wheels" && echo netguard-*.whl)
{
    cat requirements/appliance.txt
    echo "netguard==$(echo "$ours" | cut -d- -f2) \\"
    echo "    --hash=sha256:$(sha256sum "$work/wheels/$ours" | cut -d' ' -f1)"
} >"$work/requirements.txt"

share=$work/share
mkdir -p "$share"
cp -R radius_hooks docs LICENSE THIRD_PARTY.md "$share/"
cp -R deploy/systemd deploy/prometheus deploy/grafana "$share/"
rm -rf "$share/docs/pictures" "$share/prometheus/tests"
install -m 755 deploy/bundle/install "$work/install"
echo "$version" >"$work/VERSION"

# The same input gives the same bytes: times, owners and order are fixed.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime='@0' --mode='go=rX,u+rw,a-s' \
    --directory=.cache/bundle "$name" | gzip -n >"dist/$name.tar.gz.new"
mv "dist/$name.tar.gz.new" "dist/$name.tar.gz"
sha256sum "dist/$name.tar.gz" >"dist/$name.tar.gz.sha256"
rm -rf "$work"
echo "bundle: dist/$name.tar.gz, $(du -h "dist/$name.tar.gz" | cut -f1)"
