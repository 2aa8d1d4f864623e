"""Cloudbeds as we believe it to be: consent page, token endpoint and API, on loopback, in a process of its own.

The facts come from Cloudbeds' documentation and from what integrators have seen; where they disagree, a switch decides.
The simulator shares no code with the library that it tests, so no mistake can hide by being in both.

Reading order:

1. ``rotation``      the variants V0 to V7, each in two forms, and the tokens of one grant; usable alone
2. ``switches``      the settings, the clock and the random values of a run
3. ``records``       apps, hotels, codes, grants; ``vendor_model`` the whole vendor, pure; ``webhooks`` subscriptions
4. ``answers``       the documented bodies; ``approval_pages`` what a user sees; ``methods`` and ``modules`` the API
5. ``journal``       a request as received, and the log; ``endpoints`` consent, tokens and API, functions of a request
6. ``faults``        what can go wrong on demand, and how it looks on the wire
7. ``http_shell``    the HTTP server around it; ``control_api`` how programs steer it, ``local_requests`` which may
8. ``glass_box``     the same for people: pages with the content of ``grant_views`` and ``request_views``
9. ``__main__``      the command line
"""
