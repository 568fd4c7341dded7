"""A guestbook: sign it, read what others wrote."""

VERSION = "1.0.0"
