"""`netguard doctor`: looks at the node, its cabling and its NASes; what it means is in core/doctor.

Works without our daemons: that is when it is needed. Looks and asks, changes nothing.
"""
