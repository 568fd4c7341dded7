"""A compute node's side: pool, images, environments, network, proxy.

Everything but the data is derived from the records in ``<prefix>/environments``: guest
configuration, firewall rules, proxy map. ``corpus.node.boot`` makes them anew.
"""
