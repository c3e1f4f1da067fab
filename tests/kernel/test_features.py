"""The scripts of kernel features: this kernel has each, nothing of them is loaded, and a lack is found."""

import json
import subprocess
import sys

import pytest

from netguard.core.doctor.features import FEATURES

CODE = """
import json, sys
from netguard.core.doctor import features
from netguard.daemon.doctor import node
features.FEATURES.update(json.loads(sys.argv[1]))
print(json.dumps([[f.outcome, f.text] for f in node._features()]))
"""


def run(*words):
    done = subprocess.run(
        ["unshare", "--net", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("feature", FEATURES)
def test_the_kernel_takes_each_by_itself(feature):
    script = FEATURES[feature][0]
    assert run("sh", "-ec", f"nft -c -f - <<'E'\n{script}E\nnft list ruleset") == ""


def test_what_a_kernel_lacks_is_named_alone():
    ((outcome, text),) = json.loads(run(sys.executable, "-c", CODE, "{}"))
    assert outcome == "ok"
    odd = {
        "flights to the moon": [
            "table inet x { chain c { type moon hook forward priority 0; } }\n",
            "moon",
        ]
    }
    ((outcome, text),) = json.loads(run(sys.executable, "-c", CODE, json.dumps(odd)))
    assert outcome == "failed"
    assert "this kernel has no flights to the moon: nft:" in text
