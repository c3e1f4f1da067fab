#!/bin/sh
# Compiles requirements/*.txt: every package pinned, with the hashes of all its files, and no word
# about where they come from. One lock serves Python 3.11 and later on every machine (markers).
# The compiler (uv) lives in a throw-away environment and is not part of the project's own.
set -eu
cd "$(dirname "$0")/.."

python=/usr/bin/python3
tool=.cache/lock
if [ ! -x "$tool/bin/uv" ]; then
    echo "lock: making $tool"
    "$python" -m venv "$tool"
    if [ -f requirements/lock.txt ]; then
        "$tool/bin/pip" install --quiet --require-hashes -r requirements/lock.txt
    else
        "$tool/bin/pip" install --quiet uv
    fi
fi

# --no-config and an empty environment for uv: settings of this machine must not leak into the files.
compile() {
    out=$1
    shift
    echo "lock: requirements/$out"
    env -i PATH=/usr/bin:/bin HOME="$HOME" ${SSL_CERT_FILE:+SSL_CERT_FILE="$SSL_CERT_FILE"} \
        UV_PYTHON="$python" UV_PYTHON_DOWNLOADS=never \
        "$tool/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" \
        ${UPGRADE:+--upgrade} "$@" --output-file "requirements/$out"
}

compile runtime.txt pyproject.toml --group build
# What an appliance gets: no tool that builds packages.
compile appliance.txt pyproject.toml --constraint requirements/runtime.txt
compile dev.txt pyproject.toml --group build --group dev --constraint requirements/runtime.txt
compile peers.txt --group peers
compile lock.txt --group lock

if grep -nE '://|^--(index|extra|find)|find-links|file:' requirements/*.txt; then
    echo "lock: a requirements file names a host or a folder; see the lines above" >&2
    exit 1
fi
