"""Programs that measure from inside: each prints one number and ends."""
