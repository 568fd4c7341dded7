"""Environments on machines that people have already: no container, reached over SSH.

``inside`` runs there, ``contents`` says what is put there, ``looking`` what differs, ``making``
and ``removing`` do it, ``records`` remembers the machines.
"""
