"""Where tokens leave the process: the vendor's peculiarities are handled here and nowhere else.

Reading order: `http_client` (timeouts, TLS, no environment, no redirects), `token_endpoint` and `cloudbeds_api` (the
library's own calls), `lender` (tokens for a client, step by step), `httpx_auth` (a user's httpx2 client),
`hotel_client` (`vault.call`), `upstream` (the proxy).
"""
