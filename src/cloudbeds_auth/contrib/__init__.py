"""Integrations with other programs and clients: each module needs the extra of its name.

Reading order: `blocking_flow` (what the blocking clients share), `requests`, `sdk`; then the whole flow, mounted:
`web_flow` (what is the same in every framework) and `fastapi`; `blocking_pages`, `hotel_session` (the same over a vault
that blocks), `flask` and `django`.
"""


def missing(module: str, extra: str) -> str:
    """What an ImportError of ours says."""
    return f"{module} needs what the library alone does not: pip install 'cloudbeds-auth[{extra}]'"
