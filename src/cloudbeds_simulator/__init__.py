"""Cloudbeds as we believe it to be: consent page, token endpoint and API, on loopback, in a process of its own.

The facts come from Cloudbeds' documentation and from what integrators saw; where they disagree, the difference is a
switch. It shares no code with the library it tests, so that one mistake cannot hide in both.

Reading order:

1. ``variants``    what a repeated refresh may mean: V0 to V7, each in two forms
2. ``rotation``    the rule of one grant, pure, usable alone
3. ``records``     apps, hotels, codes, grants; ``model`` the whole vendor, pure; ``settings`` its switches
4. ``answers``     the documented bodies; ``methods`` the protected API methods
5. ``calls``       a request as received; ``endpoints`` consent page, token endpoint and API, each a function of a call
6. ``faults``      what can go wrong on demand; ``misbehave`` how it looks on the wire; ``journal`` the log
7. ``http``        the shell around all that; ``pages`` its HTML; ``glass_box`` the control API of tests and demo
8. ``system``      the only wall clock and dice; ``__main__`` the command line
"""
