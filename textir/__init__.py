"""The text form: grammar, parser, printer and diagnostics."""
