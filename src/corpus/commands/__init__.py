"""Builders of argument vectors and parsers of what the commands print. Nothing here runs."""
