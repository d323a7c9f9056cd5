"""Backends: what executes a lowered module."""
