"""The self-test of the gates: every gate is fed bad input in an isolated copy of a small shop, and has to block it.

    parent (`run`)  one folder per run, one child process per gate, results into the operational record
    child           the DAGs' own tasks (`dags/dag_support/selftest.py` walks them), one copy of the shop per proof

A gate is declared once, in `registry`, with one bad input for each kind of its rules. Each is also switched off once,
inside the child only: then the same bad input gets through, and its proof must come out as failed.
"""
