"""Where tokens leave the process: the vendor's oddities are translated here and nowhere else.

Reading order: `http_client` (timeouts, TLS, no environment, no redirects), `token_endpoint` and `cloudbeds_api` (our
own calls), `lender` (what a client is lent, step by step), `httpx_auth` (a user's httpx2 client), `hotel_client`
(`vault.call`), `upstream` (the proxy).
"""
