"""Cloudbeds as we believe it to be: consent page, token endpoint and API, on loopback, in a process of its own.

The facts come from Cloudbeds' documentation and from what integrators saw; where they disagree, the difference is a
switch. It shares no code with the library it tests, so that one mistake cannot hide in both.

Reading order:

1. ``rotation``      what a repeated refresh may mean, V0 to V7 in two forms, and the rule of one grant; usable alone
2. ``switches``      what a run is made with: its settings, clock and dice
3. ``records``       apps, hotels, codes, grants; ``vendor_model`` the whole vendor, pure; ``webhooks`` who subscribed
4. ``answers``       the documented bodies; ``approval_pages`` what a hotel user sees; ``methods`` the protected methods
5. ``journal``       a request as received, and the log; ``endpoints`` consent, tokens and API, functions of a request
6. ``faults``        what can go wrong on demand, and how it looks on the wire
7. ``http_shell``    the HTTP shell around all that; ``control_api`` how programs see into it, ``local_requests`` which
8. ``glass_box``     the same for people: pages, from ``grant_views`` and ``request_views`` by templates of ``pages``
9. ``__main__``      the command line
"""
