"""Integrations with other programs and clients: each module needs the extra of its name.

Reading order: `blocking_flow` (what the blocking clients share), `requests`, `sdk`; `web_flow` and `fastapi` (the whole
flow, mounted).
"""


def missing(module: str, extra: str) -> str:
    """What an ImportError of ours says."""
    return f"{module} needs what the library alone does not: pip install 'cloudbeds-auth[{extra}]'"
