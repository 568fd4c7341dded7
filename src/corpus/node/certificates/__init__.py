"""The certificates of the front: brought by hand, obtained by ACME, or made by the node."""
