"""Frontends: the ways in, from Python and from the command line."""
