"""Robust losses for dlir: the ``robust`` dialect, its rules and its pass."""
