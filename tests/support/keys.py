"""Secrets of tests that pass for random ones: the settings refuse any that can be guessed."""

from __future__ import annotations

import base64

KEY = bytes.fromhex("5be1c4770a93d82f6e14b9a05c3df7816629e0cb4812fd9735aac05e8b71d346")
OTHER_KEY = bytes.fromhex("c05f1d8e6ab2379410fb7e42d96c83a5512709eedc48b16f3a94e7205bcd7f08")
KEY_TEXT, OTHER_KEY_TEXT = base64.b64encode(KEY).decode(), base64.b64encode(OTHER_KEY).decode()
WEBHOOK_SECRET = "whsec_q83vEjRWeJCrRe8BI0VniavNn1dTwPLT"
