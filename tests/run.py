"""Run a module of the tests by name, from anywhere: python tests/run.py host.serve

The tests are no regular package: with an __init__.py here, pytest would take the repository's own __init__.py for
the package above it and run it. Left to Python's search, another package named `tests` could come first.
"""

from __future__ import annotations

import runpy
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def name_packages() -> None:
    """Register `longtake` for the repository, without running its __init__.py, `tests` for this folder, and `farm`.

    A farm runs by that name, beside ComfyUI, and its workers look for what they are sent by the name it has here.
    """
    for name, folder in (("longtake", ROOT), ("tests", ROOT / "tests"), ("farm", ROOT / "farm")):
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules.setdefault(name, module_from_spec(spec))


if __name__ == "__main__":
    name_packages()
    module = sys.argv.pop(1)
    # `nodes` must mean ComfyUI's; neither this folder nor the repository is searched for top-level modules.
    sys.path.pop(0)
    runpy.run_module(f"tests.{module}", run_name="__main__", alter_sys=True)
