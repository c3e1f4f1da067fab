#!/bin/sh
# Installs the Debian packages of the lists scripts/debian/LIST.txt that are missing, and nothing
# else: no service of the distribution is started or left enabled by it, and services that were
# on this machine before are not touched.
#
# usage: scripts/packages.sh demo [test] [bench]
set -eu
cd "$(dirname "$0")/.."

policy=/usr/sbin/policy-rc.d
mark="netguard: no service is started while packages are installed"

for list in "$@"; do
    [ -f "scripts/debian/$list.txt" ] || { echo "packages: no list '$list'" >&2; exit 2; }
done
lists=$(for list in "$@"; do echo "scripts/debian/$list.txt"; done)
# shellcheck disable=SC2086  # a list of file names without blanks
wanted=$(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' $lists | sort -u)

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=""
for package in $wanted; do
    # NAME? is wanted where this Debian has it.
    case $package in
    *\?)
        package=${package%\?}
        apt-cache show "$package" >/dev/null 2>&1 || continue
        ;;
    esac
    installed "$package" || missing="$missing $package"
done
missing=${missing# }
if [ -z "$missing" ]; then
    echo "packages: all of $* are installed"
    exit 0
fi

echo "packages: missing: $missing"
echo "packages: undo later with: apt-get purge --autoremove $missing"
if [ "$(id -u)" -ne 0 ]; then
    echo "packages: this needs root: run the same command as root, or install the packages above" >&2
    exit 1
fi

# Units known before: those are somebody's services, ours are only the ones that appear now.
units() {
    find /lib/systemd/system /usr/lib/systemd/system -name '*.service' 2>/dev/null |
        sed 's|.*/||' | sort -u
}
before=$(mktemp)
after=$(mktemp)
said=$(mktemp)
units >"$before"

# A policy of the administrator stays as it is; one that we left behind when interrupted is ours.
ours=no
if [ ! -e "$policy" ] || grep -qF "$mark" "$policy"; then
    ours=yes
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
fi
tidy() {
    [ "$ours" = no ] || rm -f "$policy"
    rm -f "$before" "$after" "$said"
}
trap tidy EXIT
trap 'exit 130' INT TERM HUP

# What a package manager says is read when it fails, and is in the way when it does not (one of
# the packages prints a screen full of dots).
quietly() {
    "$@" </dev/null >"$said" 2>&1 || {
        code=$?
        cat "$said" >&2
        echo "packages: '$*' failed, its words are above" >&2
        exit "$code"
    }
}

export DEBIAN_FRONTEND=noninteractive
echo "packages: apt-get update"
quietly apt-get update -qq
echo "packages: apt-get install, a minute or two"
# --no-remove: a mail server that is here already stays; then the list has to be looked at by a person.
# shellcheck disable=SC2086  # a list of package names
quietly apt-get install -y -qq --no-install-recommends --no-remove -o Dpkg::Use-Pty=0 $missing

# The administrator's own policy may allow starts: what came with these packages is stopped and
# disabled all the same, so that it does not come up at the next boot either.
units >"$after"
new=$(comm -13 "$before" "$after" | grep -v '@' || true)
for unit in $new; do
    case $unit in
    freeradius.service | hostapd.service | nsd.service | unbound.service | unbound-resolvconf.service | prometheus.service | firewalld.service | dbus.service | \
        prometheus-alertmanager.service | exim4.service | exim4-base.service | rsyslog.service) ;;
    *) continue ;;
    esac
    if [ -d /run/systemd/system ]; then
        systemctl disable --quiet --now "$unit" </dev/null || true
    else
        deb-systemd-helper disable "$unit" </dev/null >/dev/null 2>&1 || true
    fi
    # The same for machines that boot without systemd.
    if [ -e "/etc/init.d/${unit%.service}" ] && [ ! -d /run/systemd/system ]; then
        update-rc.d "${unit%.service}" disable </dev/null >/dev/null 2>&1 || true
    fi
    echo "packages: $unit stays stopped and disabled"
done
echo "packages: done"
