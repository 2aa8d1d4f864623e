"""Where tokens leave the process: the vendor's oddities are translated here and nowhere else.

Reading order: `policy` (timeouts, TLS, no environment, no redirects), `token_endpoint` and `vendor` (our own calls),
`auth` (a user's httpx2 client), `protected` (`vault.call`), `upstream` (the proxy).
"""
