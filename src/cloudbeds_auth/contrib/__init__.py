"""Adapters for clients of other libraries, each with the extra of its name: `requests`, `sdk`.

Reading order: `lending` (what they share), `requests`, `sdk`.
"""
