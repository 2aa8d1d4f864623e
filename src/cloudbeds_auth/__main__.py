"""`python -m cloudbeds_auth`: the command line."""

from __future__ import annotations

from cloudbeds_auth.cli.main import main

if __name__ == "__main__":
    main()
