"""A guestbook: sign it, read what others wrote."""

VERSION = "2.0.0"
