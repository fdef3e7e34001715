"""The local install: a plan of phases, its execution, its receipt, and the way back.

Nothing is imported here: `first_stage` runs on a host that has nothing but Python yet.
"""
