"""What a number does not say by itself, by the name of its group: what bounds it; where an aim is missed, by how much,
why, and what was tried. `python -m benchmarks --draw` puts a changed note on the page.
"""

from __future__ import annotations

NOTES: dict[str, str] = {}
