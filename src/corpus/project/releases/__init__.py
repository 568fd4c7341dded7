"""Releases: archives of ``run/`` with a signed manifest, made here or brought from elsewhere."""

from corpus.project.releases.making import make
from corpus.project.releases.shelf import deployments, listed, offer, remove
from corpus.project.releases.unpacking import unpack
from corpus.project.releases.verifying import verify

__all__ = ["deployments", "listed", "make", "offer", "remove", "unpack", "verify"]
