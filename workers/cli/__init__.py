"""The command line. An old Python is turned away here, before a module that it cannot even read is imported."""

import sys

from workers.interpreter import OLDEST, trouble

_trouble = trouble(tuple(sys.version_info[:2]))
if _trouble and tuple(sys.version_info[:2]) < OLDEST:
    raise SystemExit(f"soma: {_trouble}")
