"""The language server: what an editor asks about a .dlir text.  Only `server` imports pygls."""
