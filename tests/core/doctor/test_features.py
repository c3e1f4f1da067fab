"""What a kernel lacks is named with the module that has it."""

from netguard.core.doctor import features
from netguard.core.doctor.findings import Outcome


def test_a_kernel_with_everything_is_well():
    (found,) = features.judge({})
    assert found.outcome is Outcome.OK
    assert "masquerade" in found.text


def test_each_feature_that_is_missing_names_its_module():
    found = features.judge({"masquerade": "nft: Operation not supported", "rejects": "nft: x"})
    assert [f.outcome for f in found] == [Outcome.FAILED] * 2
    assert "no masquerade: nft: Operation not supported" in found[0].text
    assert found[0].mend.startswith("modprobe nft_masq;")


def test_all_scripts_together_share_no_table():
    text = features.together()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("table ")]
    assert len(set(names)) == len(features.FEATURES)
