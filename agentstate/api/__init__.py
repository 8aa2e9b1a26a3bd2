"""State, runs, events and transcripts over HTTP, through the same gates and functions as Python code.

Opt in: install the extra ``api``, add ``ninja`` to ``INSTALLED_APPS``, and include :mod:`agentstate.api.urls`. Nothing
else of the package imports this one.

A route is a function in a module of :mod:`agentstate.api.routes`, one module for each noun, its schemas beside it.
It answers with :func:`agentstate.api.exact.answer`, which prints every digit, and lets the package's errors propagate:
:mod:`agentstate.api.problems` turns them into answers.
"""
