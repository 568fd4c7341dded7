"""Images: what environments and nodes start from, made in layers and cached.

`settings` says what the machine passes in, `recipes` which layers an image has, `builder`
makes what is not cached, `store` unpacks an image on a node.
"""
