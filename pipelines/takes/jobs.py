"""Prompts that a render was begun for and has not ended: who queued them can go on, also after a restart.

jobs/<id>.json   sealed; the id is a hash of the prompt
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refusal
from ..files.reading import Damaged, Unreadable, contents, files_in, make_folder
from ..files.sealed import sealed, unsealed
from ..files.whole import forget_oldest, write_whole
from .store import Store

log = logging.getLogger(__name__)

FOLDER = "jobs"
FORMAT = "longtake.job.v1"
ID = re.compile(r"[0-9a-f]{16}")
LIMIT = 16 * 2**20  # bytes of all of them: hundreds of prompts, of which the oldest go


@dataclass(frozen=True)
class Job:
    """A prompt whose render has not ended.

    Attributes:
        prompt: as it was queued, in API form.
        begun: seconds since 1970.
    """

    id: str
    prompt: Mapping[str, Any]
    begun: float


def begin(store: Store, prompt: Mapping[str, Any]) -> str:
    """Note that a prompt is being rendered, and return its id. Where it cannot be noted the render is no worse."""
    text = json.dumps(prompt, sort_keys=True)
    job = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = _path(store, job)
    try:
        if not path.exists():
            data = sealed({"format": FORMAT, "begun": time.time(), "prompt": prompt})
            make_folder(path.parent, store.root)
            write_whole(path, lambda unfinished: unfinished.write_bytes(data), lasting=False)
            forget_oldest(files_in(path.parent), LIMIT)
    except (OSError, ValueError, Refusal, Unreadable) as error:
        log.warning("Longtake: that a film was begun is not kept: %s", error)
    return job


def end(store: Store, job: str) -> None:
    """Forget a job; one that is not there is none."""
    with contextlib.suppress(OSError):
        _path(store, job).unlink()


def find(store: Store, job: str) -> Job | None:
    """The job of an id, or None where it has ended, or was never begun.

    Raises:
        Damaged: what lies there is not what was written.
        Unreadable: it cannot be read now.
    """
    if not ID.fullmatch(job):
        return None
    try:
        document = unsealed(contents(_path(store, job)), (FORMAT,))
    except FileNotFoundError:
        return None
    return Job(job, document["prompt"], document["begun"])


def unfinished(store: Store) -> list[Job]:
    """Every job that can be read, the newest first."""
    jobs: list[Job] = []
    for path in files_in(store.root / FOLDER):
        with contextlib.suppress(Damaged, Unreadable):
            jobs += filter(None, [find(store, path.stem)])
    return sorted(jobs, key=lambda job: -job.begun)


def _path(store: Store, job: str) -> Path:
    return store.root / FOLDER / f"{job}.json"
