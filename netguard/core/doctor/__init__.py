"""What is wrong with a node, its cabling and its NASes: facts in, findings out, nothing is looked at here.

A finding has a stable code, what was measured, and one line that mends it. `not checked` is a
finding, too: nobody may take for fine what was not looked at.
"""
