"""Whole machines as containers on one host: for the demo, the tests and for trying a cluster."""
