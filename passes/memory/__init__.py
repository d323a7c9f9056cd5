"""Machinery of ``bufferize`` and ``plan-memory``: who may share a buffer, how long it lives, and where it goes."""
