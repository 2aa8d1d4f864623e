"""Integrations with other programs and clients: each module needs the extra of its name.

Reading order: `blocking_flow` and `urllib3_retry` (what the clients share), `requests`, `sdk`; `web_flow` and `fastapi`
(the whole flow, mounted).
"""
