"""Loading a plugin by hand: ``--load-plugin MODULE_OR_FILE.py``.

Installed plugins need no loading: their entry points are found by name (see `dlir.ir.tables`).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

from dlir.ir.errors import DlirError
from dlir.ir.tables import plugin_code


def load_plugin(name: str) -> None:
    """Import the plugin in the Python file or the module called `name`, which registers what it brings.

    A plugin writes lines into the tables: ``DIALECTS["robust"] = __name__`` if the ops stand in that very module.  Loading
    one twice does nothing.  DlirError if there is none, it fails, or a name is taken.
    """
    if name.endswith(".py") or os.sep in name:
        _load_file(Path(name))
        return
    with plugin_code(name):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # something that the plugin needs
            raise _missing(name) from None


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise _missing(str(path))
    module_name = "dlir_plugin_" + re.sub(r"\W", "_", path.stem)
    real = os.path.realpath(path)
    loaded = sys.modules.get(module_name)
    if loaded is not None and loaded.__file__ == real:
        return
    with plugin_code(str(path)):
        if loaded is not None:
            raise DlirError(f"plugin '{path}' is called as '{loaded.__file__}', which is loaded: rename one")
        spec = importlib.util.spec_from_file_location(module_name, real)
        if spec is None or spec.loader is None:
            raise DlirError(f"plugin '{path}' is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise


def _missing(name: str) -> DlirError:
    return DlirError(f"there is no plugin '{name}'", hint="give a module that Python finds, or a .py file")
