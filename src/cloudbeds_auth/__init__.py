"""cloudbeds-auth."""
