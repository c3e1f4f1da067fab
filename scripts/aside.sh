#!/bin/sh
# Unpacks the Debian packages of scripts/debian/aside.txt into .cache/aside/PACKAGE, without installing
# them: each would take another program of this machine away. Nothing outside of the checkout changes.
set -eu
cd "$(dirname "$0")/.."

wanted=$(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' scripts/debian/aside.txt)
for package in $wanted; do
    to=.cache/aside/$package
    [ ! -d "$to" ] || continue
    # Where it is installed it is used as it is.
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ] || continue
    mkdir -p .cache/aside
    work=$(mktemp -d)
    # apt drops root while it downloads.
    chmod 755 "$work"
    chown _apt "$work" 2>/dev/null || true
    (cd "$work" && apt-get download -qq "$package" </dev/null >said 2>&1) || {
        # Without a fresh list of packages there is nothing to download.
        apt-get update -qq </dev/null >"$work/said" 2>&1 || true
        (cd "$work" && apt-get download -qq "$package" </dev/null >said 2>&1) || {
            cat "$work/said" >&2
            echo "aside: $package cannot be downloaded, apt's words are above" >&2
            exit 1
        }
    }
    dpkg-deb -x "$work"/*.deb "$to.new"
    mv "$to.new" "$to"
    rm -rf "$work"
    echo "aside: $package unpacked into $to"
done
