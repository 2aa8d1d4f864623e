"""The service: one gateway, and behind it a proxy in raw ASGI, and a framework for the paths that need less speed.

Reading order: `gateway` (which requests are admitted), `proxy` with `relaying` (a call on its way to the vendor), `api`
with `schemas` (JSON), `exchanges` (a request and an answer without a framework), `browser` with `cookies` and `pages`
(the hotel's pages), `session_routes` with `sign_in`, `dashboard`, `connection_page`, `trying` and `service_pages` (the
operator's pages), `api_reference` (the API as people read it), `problems` (errors over HTTP), `vendor_hook`, `limits`
(the resources of one caller) and `checks` (of credentials), `asgi` (the adapter to the framework), `application`
(composition and lifespan), `server` with `http_limits`, `http_transport` and `http_connections`.
"""
