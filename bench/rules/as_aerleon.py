"""aerleon's part of equivalent.py, in the environment of the peers: FOLDER OUT, prints CPU seconds by stage."""

import json
import sys
import time
from pathlib import Path

from aerleon.lib import naming, nftables
from aerleon.lib import yaml as policies


def run(folder: Path, out: Path) -> dict[str, float]:
    begun = time.process_time()
    definitions = naming.Naming(str(folder / "def"))
    policy = policies.ParsePolicy(
        (folder / "policy.yaml").read_text(),
        filename="policy.yaml",
        base_dir=str(folder),
        definitions=definitions,
    )
    checked = time.process_time()
    text = str(nftables.Nftables(policy, 2))
    compiled = time.process_time()
    out.write_text(text)
    return {"check": checked - begun, "compile": compiled - checked}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]))))
