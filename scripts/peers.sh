#!/bin/sh
# Makes .cache/peers: programs in Python that the benches run beside ours, from a hashed lock, in an
# environment of their own. Does nothing when the lock has not changed since.
set -eu
cd "$(dirname "$0")/.."

python=/usr/bin/python3
stamp=.cache/peers/netguard-stamp
wanted=$({ pwd; "$python" --version; cat requirements/peers.txt scripts/peers.sh; } | sha256sum | cut -d' ' -f1)
if [ -f "$stamp" ] && grep -qxF "$wanted" "$stamp"; then
    exit 0
fi
echo "peers: making .cache/peers"
rm -rf .cache/peers
"$python" -m venv .cache/peers
.cache/peers/bin/python -m pip install -qq --no-input --disable-pip-version-check --require-hashes \
    --no-deps -r requirements/peers.txt </dev/null
echo "$wanted" >"$stamp"
