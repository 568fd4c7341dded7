"""Where environments lie: the pool, images, sizes."""
