"""``make bench``: what a push, a rollback and an environment cost, beside a floor or a peer."""
