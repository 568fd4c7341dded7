"""A guestbook: sign it, read what others wrote."""

VERSION = "3.0.0"
