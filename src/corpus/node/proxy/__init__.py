"""The node's front: host names led to environments by an HAProxy instance of our own."""
