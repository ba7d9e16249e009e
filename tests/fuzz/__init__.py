"""Bytes from outside, mutated towards whatever code they have not reached yet.

- ``targets``: what is done with an input, and what must hold whatever it is.
- ``seeds``: inputs to begin with.
- ``corpus``: inputs that reached something new, and those that once broke something.
- ``__main__`` and ``guided``: the hours of it, guided by coverage. CI runs the corpus, and some
  blind mutations of it.
"""
