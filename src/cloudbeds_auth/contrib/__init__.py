"""Into other people's programs and clients: each module needs the extra of its name.

Reading order: `lending` and `retrying` (what the clients share), `requests`, `sdk`; `fastapi` mounts the whole flow.
"""
