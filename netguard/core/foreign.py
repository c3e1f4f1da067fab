"""Which tables of somebody else matter to the fence, and why.

Every base chain of a hook sees every packet, so an accept elsewhere opens nothing that ours drops. But
a chain can set the marks that ours reads, a NAT can hide where a packet goes, and a drop can cut
tablets off from what is theirs. Hooks and priorities: nft(8).
"""

_SET = "set the marks that netguard reads"
_CONCERNS = {
    "ingress": "can change or drop tablets' packets before netguard sees them",
    "prerouting": f"can {_SET}",
    "forward": f"can drop what the plan allows, or {_SET}",
    "input": "can drop tablets' DHCP, names and time",
}


def concern(kind: str, hook: str) -> str:
    """Say why a base chain of this type and hook matters; an empty text where it does not."""
    if kind == "nat" and hook in {"prerouting", "postrouting"}:
        return "can rewrite where tablets' packets go or come from"
    return _CONCERNS.get(hook, "")
