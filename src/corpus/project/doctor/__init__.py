"""The doctor: what is wrong with a project or its environment, and mending what is safe.

``examine`` is the entrance; each of the other modules holds checks of one kind. A check
looks and changes nothing; a finding of its may carry the function that mends it.
"""
