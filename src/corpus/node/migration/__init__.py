"""Environments move to other nodes while they run: peers, the line between two, both sides."""
