"""The numbered steps of the two databases, one folder each; run by `netguard.adapters.store` only.

A step that has been released is never changed: the next one goes on from it. Each runs within the
one transaction of the whole upgrade.
"""
