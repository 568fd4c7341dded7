"""The doctor: where a node differs from its records, and mending what is safe.

``examine`` is the entrance; each of the other modules holds checks of one subject. A check
looks and changes nothing; a finding of its may carry the function that mends it, which takes
the locks that it needs and looks again: meanwhile an operation may have been under way.
"""
