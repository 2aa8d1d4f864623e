"""Fixtures: a database on a real file, with a clock set by hand."""

from tests.support.bench import db

__all__ = ["db"]
