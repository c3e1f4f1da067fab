#!/bin/bash
# Runs a command as root in a virtual machine with real VLAN devices and simulated radios, and ends with
# its exit code (124: it took too long, 125: the machine could not be had or failed).
#
#   tests/wifi/guest/run.sh [--engine auto|uml|qemu] [--seconds N] [--memory MB] [--records DIR] [--prepare] -- COMMAND...
#
# --prepare only makes the kernel, and prints which engine it is for.
# The guest sees this machine's file system read-only below a layer in memory: programs and virtual
# environments run unchanged, and it has no network card. Nothing it writes stays but what it puts into
# $NETGUARD_RECORDS, which is copied to DIR. User Mode Linux is built once from Debian's linux-source package
# and kept in .cache/guest; a ready one is taken from NETGUARD_UML where it has what uml.config asks for. Where
# it cannot be had, qemu takes Debian's own kernel and asks for no KVM, which is some twenty times slower.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
engine=auto seconds=900 memory=2048 records='' prepare=0
while [ $# -gt 0 ]; do
    case $1 in
    --engine) engine=$2 && shift 2 ;;
    --seconds) seconds=$2 && shift 2 ;;
    --memory) memory=$2 && shift 2 ;;
    --records) records=$2 && shift 2 ;;
    --prepare) prepare=1 && shift ;;
    --) shift && break ;;
    *) sed -n '2,/^set -/p' "$0" | grep '^#' >&2 && exit 125 ;;
    esac
done
say() { echo "guest: $*" >&2; }
die() { say "$*" && exit 125; }

# --- the kernel ------------------------------------------------------------------
# Say what of uml.config a ready kernel lacks.
lacks() {
    "$1" --showconfig 2>/dev/null | sort >"$work/has" || true
    sed '/^# What is not needed/,$d' "$here/uml.config" | grep '=y$' | sort | comm -23 - "$work/has" | tr '\n' ' '
}
# Compiled a fifth faster than with the kernel's own -O2; where that does not compile, -O2 it is.
flags=-O1
uml_kernel() {
    version=$(apt-cache policy linux-source 2>/dev/null | sed -n 's/^ *Candidate: //p')
    key=$(cat "$here/uml.config" <(echo "$version $flags") | sha256sum | cut -c1-16)
    kernel=$root/.cache/guest/linux-$key
    [ ! -x "$kernel" ] || return 0
    if [ -x "${NETGUARD_UML:-}" ]; then
        missing=$(lacks "$NETGUARD_UML")
        [ -n "$missing" ] || { kernel=$NETGUARD_UML && return 0; }
        say "$NETGUARD_UML will not do, it lacks $missing"
    fi
    mkdir -p "$root/.cache/guest"
    source=$(apt-cache depends linux-source | sed -n 's/^ *Depends: \(linux-source-[0-9.]*\)$/\1/p' | head -1)
    [ -n "$source" ] || die "apt knows no linux-source: apt-get update"
    say "building User Mode Linux from $source once, some minutes"
    began=$SECONDS
    build=$work/build && mkdir "$build" && chmod 755 "$work" "$build"
    log=$root/.cache/guest/build.log
    (build_uml "$build") >"$log" 2>&1 || { tail -n 20 "$log" >&2 && die "the build failed"; }
    missing=$(lacks "$build/stripped")
    [ -z "$missing" ] || die "what was built lacks $missing"
    # Two may build at once, and one may be ended: what stands in its place is whole.
    if ! { cp "$build/stripped" "$kernel.$$" && mv "$kernel.$$" "$kernel"; }; then
        rm -f "$kernel.$$"
        die "$kernel cannot be written"
    fi
    say "built in $((SECONDS - began)) s with $(nproc) processors"
    rm -rf "$build"
}
# Where somebody asks whether it worked, `set -e` is off, also inside: no step follows one that failed.
build_uml() {
    cd "$1" &&
        apt-get -q download "$source" &&
        dpkg-deb --fsys-tarfile "$source"_*.deb | tar -xO "./usr/src/$source.tar.xz" | tar -xJ --strip-components=1 &&
        make ARCH=um allnoconfig &&
        ARCH=um scripts/kconfig/merge_config.sh -m .config "$here/uml.config" &&
        make ARCH=um olddefconfig &&
        { make ARCH=um -j"$(nproc)" KCFLAGS=$flags linux || make ARCH=um -j"$(nproc)" linux; } &&
        strip -o stripped linux
}
# Debian's own kernel, unpacked and not installed, and a first file system with the modules to mount the host.
qemu_kernel() {
    "$root/scripts/packages.sh" qemu >&2 || die "qemu could not be installed"
    cache=$root/.cache/guest/qemu-$(cat "$here/qemu-init" "$here/second" | sha256sum | cut -c1-16)
    [ ! -e "$cache/ready" ] || return 0
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -1)
    [ -n "$package" ] || die "apt knows no linux-image-amd64: apt-get update"
    say "unpacking $package"
    rm -rf "$cache"
    mkdir -p "$cache/deb"
    # busybox-static cannot be installed beside the busybox of udhcpc.
    (cd "$cache/deb" && chmod 755 . && apt-get -q download "$package" busybox-static >&2)
    for deb in "$cache"/deb/*.deb; do dpkg -x "$deb" "$cache/unpacked"; done
    release=${package#linux-image-}
    # Debian 12 has them below /lib and /bin, Debian 13 below /usr.
    mkdir -p "$cache/kernel/lib" && ln -s . "$cache/kernel/usr"
    mv "$(find "$cache/unpacked" -type d -path '*/lib/modules')" "$cache/kernel/lib/modules"
    depmod -b "$cache/kernel" "$release"
    python3 "$here/extract_vmlinux.py" "$cache/unpacked/boot/vmlinuz-$release" "$cache/vmlinux"
    first=$work/first && mkdir -p "$first"/{bin,dev,proc,sys,mods,new}
    cp "$(find "$cache/unpacked" -path '*/bin/busybox' -print -quit)" "$first/bin/busybox"
    for module in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
        modprobe -d "$cache/kernel" -S "$release" -D "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | awk '!seen[$0]++' | while read -r file; do
        cp "$file" "$first/mods/" && basename "$file" >>"$first/mods/order"
    done
    install -m755 "$here/qemu-init" "$first/init"
    install -m755 "$here/second" "$first/second"
    (cd "$first" && find . | cpio -o -H newc --quiet) >"$cache/initrd"
    rm -rf "$cache/deb" "$cache/unpacked"
    touch "$cache/ready"
}

work='' pid=''
cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 143' TERM
work=$(mktemp -d "${TMPDIR:-/tmp}/netguard-guest.XXXXXX")
if [ "$engine" = auto ]; then
    # In a shell of its own, which may end.
    if (uml_kernel); then engine=uml; else say "qemu instead, which is slow" && engine=qemu; fi
fi
case $engine in
uml) uml_kernel ;;
qemu) qemu_kernel ;;
*) die "no engine '$engine': auto, uml or qemu" ;;
esac
[ $prepare = 0 ] || { echo "$engine" && exit 0; }
[ $# -gt 0 ] || die "no command"

# --- this run: the command, its output, its exit code ----------------------------
run=$work/run && mkdir "$run" "$run/records" && mkfifo "$run/console"
{
    printf 'cd %q\nexport PATH=%q HOME=/root TERM=dumb LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 NETGUARD_GUEST=%s NETGUARD_RECORDS=/run/guest/records\n' "$PWD" "$PATH:/usr/local/sbin:/usr/sbin:/sbin" "$engine"
    printf 'exec'
    printf ' %q' "$@"
    echo
} >"$run/command"
cat "$run/console" &
shown=$!
if [ "$engine" = uml ]; then
    cp "$here/second" "$run/second" && : >"$run/uml"
    exec 9>"$run/serial.log"
    "$kernel" mem="${memory}M" rootfstype=hostfs rootflags=/ ro "init=$here/uml-init" "guest_run=$run" \
        con=null con0=null,fd:9 con1=null,fd:1 ssl=null quiet loglevel=4 mac80211_hwsim.radios=8 dummy.numdummies=0 \
        "umid=ng.${work##*.}" "uml_dir=$run" </dev/null >"$run/console" 2>"$run/error" &
else
    share() { echo -fsdev "local,id=$1,path=$2,security_model=none,multidevs=remap$3" -device "virtio-9p-pci,fsdev=$1,mount_tag=$1"; }
    # shellcheck disable=SC2046  # words on purpose
    qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=256 -cpu max -smp 2 -m "$memory" \
        -nodefaults -no-user-config -display none -no-reboot -nic none -serial "file:$run/serial.log" -monitor none \
        -kernel "$cache/vmlinux" -initrd "$cache/initrd" \
        -device virtio-serial-pci -chardev "file,id=con,path=$run/console" -device virtserialport,chardev=con,name=guest.out \
        -append "console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off no_timer_check tsc=reliable nowatchdog net.ifnames=0 audit=0 selinux=0 apparmor=0 mac80211_hwsim.radios=8" \
        $(share root / ,readonly=on) $(share run "$run" "") $(share mods "$cache/kernel/lib/modules" ,readonly=on) \
        </dev/null >/dev/null 2>"$run/error" &
fi
pid=$!
(
    trap 'kill $asleep' TERM
    sleep "$seconds" &
    asleep=$!
    wait $asleep && touch "$run/late" && kill "$pid"
) >/dev/null 2>&1 &
limit=$!
wait "$pid" || true
pid=''
[ -e "$run/rc" ] || kill "$shown" 2>/dev/null || true
wait "$shown" 2>/dev/null || true
kill "$limit" 2>/dev/null || true
wait "$limit" 2>/dev/null || true
[ -z "$records" ] || { mkdir -p "$records" && cp "$run"/records/* "$records" 2>/dev/null; } || say "no records to keep"
[ ! -e "$run/rc" ] || exit "$(cat "$run/rc")"
[ ! -e "$run/late" ] || { say "ended after $seconds s" && exit 124; }
cat "$run/error" >&2
tail -n 30 "$run/serial.log" >&2
die "the guest ended without an exit code"
