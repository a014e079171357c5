"""Methods of finding directions, one file each: every file here is imported, and so registers its method."""

import importlib
import pkgutil

from ganaug.training.methods.registry import METHODS, Method, find_directions, method, method_settings

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["METHODS", "Method", "find_directions", "method", "method_settings"]
