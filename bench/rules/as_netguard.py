"""netguard's part of equivalent.py, a process of its own: FOLDER OUT, prints CPU seconds by stage."""

import datetime
import json
import sys
import time
from pathlib import Path

from netguard.core.plan import compile_plan
from netguard.core.proof import prove
from netguard.render import nftables
from netguard.rules.folder import read_folder
from netguard.rules.load import load

TODAY = datetime.date(2026, 11, 22)


def run(folder: Path, out: Path) -> dict[str, float]:
    begun = time.process_time()
    loaded = load(read_folder(folder, "rules"), today=TODAY)
    checked = time.process_time()
    if loaded.policy is None or loaded.findings:
        sys.exit("\n".join(finding.render() for finding in loaded.findings[:10]))
    plan = compile_plan(loaded.policy, list(loaded.policy.sites))
    text = nftables.render(plan)
    compiled = time.process_time()
    claims = prove(loaded.policy, plan)
    proved = time.process_time()
    if not all(claim.holds for claim in claims):
        sys.exit("a sound plan was not proved")
    # As guard loads a new table: nothing to flush.
    lines = (line for line in text.splitlines() if not line.startswith("flush "))
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"check": checked - begun, "compile": compiled - checked, "prove": proved - compiled}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]))))
