"""Passes: rewrites from one level of the IR to the next."""
