"""Mutation testing of ``sansio/``: one small mistake at a time, and whether a test notices it.

``mutants`` makes the mistakes, ``covering`` knows which tests reach a line, ``trial`` runs them
against one mutant, and ``python -m tests.hard.mutation`` (``make mutate``) goes through the files.
"""
