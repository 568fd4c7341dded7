"""Environments: made, started, changed, removed, told of."""
