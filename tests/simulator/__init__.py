"""Tests of the simulator; ``driver`` is the client they share."""
