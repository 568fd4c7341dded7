"""Pure values: names, paths, sizes, modes, deployment ids, errors, secrets.

Nothing here opens a file, a socket or a process, or reads the clock.
"""
