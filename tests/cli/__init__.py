"""Tests of the command line: parsing and exit statuses with a fake vault, listeners and processes for real."""
