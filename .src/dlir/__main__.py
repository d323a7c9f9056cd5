"""`python -m dlir`: say which commands exist."""

from dlir import __version__

HELP = f"""\
dlir {__version__}: a multi-level IR toolkit for deep learning

  dlir-opt FILE -p "lower-nn,fuse"   read a program, run passes, print the result
  dlir-run FILE                      compile a program and run it
  dlir-reduce FILE --check CMD       make a program small while CMD holds for it
  dlir-lsp                           the language server, for editors

Each command explains itself with --help.
From Python: `import dlir`, then dlir.compile, dlir.Variable and dlir.Constant."""


def main() -> int:
    """Print the overview and succeed."""
    print(HELP)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
