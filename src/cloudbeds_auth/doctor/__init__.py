"""Checks everything an installation needs and says what to mend; secrets are never shown.

Reading order: `findings` (what a check says), `subject` (what is examined), `registry` (all checks, and running
them); then one module per family: `configuration`, `database`, `network`, `listening`, `apps`, `hotels`.
A new check is a function in its family's CHECKS.
"""
