"""Test-only node pack: every call of a model takes a while, as on a busy GPU, and none of the computer's cores.

LONGTAKE_TEST_WAIT names a file that says how long, in seconds; it is read at every call.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import comfy.model_base

_apply = comfy.model_base.BaseModel.apply_model


def waiting(self, *arguments, **more):
    with contextlib.suppress(OSError, KeyError, ValueError):
        time.sleep(float(Path(os.environ["LONGTAKE_TEST_WAIT"]).read_text()))
    return _apply(self, *arguments, **more)


comfy.model_base.BaseModel.apply_model = waiting
NODE_CLASS_MAPPINGS = {}
