"""One MAC in two wards, and a tablet under a private MAC, through the real FreeRADIUS, guard and watch."""

from netguard.lab.addresses import PRIVATE, Addresses


def test_one_mac_in_two_wards_faster_than_a_walk_is_told(hospital):
    assert "NG-1108" in Addresses(hospital).copied()


def test_a_private_mac_is_refused_linked_and_let_in_when_a_person_adopts_it(hospital, on_the_air):
    on_the_air("t2")
    shown = Addresses(hospital)
    assert f"netguard adopt {PRIVATE} T-002" in shown.private()
    assert "; VLAN 640, 10.99.0.17; the old MAC is refused" in shown.adopted()
    # All is as before: under its own MAC it has its address, under the other one nothing.
    assert hospital.dhcp("t2")
    assert hospital.probe("t2", "udp", "170.114.10.7", "8801")["ok"]
    assert hospital.join("t2", mac=PRIVATE)["answer"] == "reject"
    assert hospital.join("t2", mac=hospital.record.macs["t2"])["answer"] == "accept"
