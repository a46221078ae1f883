"""The suite is tested too: planted bugs, each a small patch, and the runner that sees every one of them caught.

A patch is a unified diff (`git diff -U0` makes one; a line of context where that is ambiguous) under three lines of
comment:

    # What a programmer got wrong, in a sentence.
    # Breaks: P3
    # Tests: tests/core/test_decide.py tests/core/test_properties.py

`Tests` are what catches it first, the quickest at the front. A patch is found by its lines, not by their numbers, so
that code may move around it.
"""
