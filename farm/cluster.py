"""The cluster that a film is rendered on: this computer's servers, some that run, or a scheduler that is there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, Nanny, Scheduler, SpecCluster

from .worker import DEVICE, RESOURCE, SERVER

CONNECT = 60  # seconds


@contextmanager
def cluster_of(servers: Sequence[Mapping[str, str]], host: str = "127.0.0.1") -> Iterator[str]:
    """A cluster of this computer's, with a worker for each server; gives its address.

    Args:
        servers: the environment of each, as `attached` and `owned` say it.
        host: to listen at.
    """
    # Workers look for this package where this process does.
    folder = str(Path(__file__).resolve().parents[1])
    if folder not in sys.path:
        sys.path.append(folder)
    workers = {
        number: {"cls": Nanny, "options": _worker(str(number), environment, host)}
        for number, environment in enumerate(servers)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"dashboard": False, "dashboard_address": f"{host}:0", "host": host, "port": 0},
    }
    with SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster:
        yield cluster.scheduler_address


def attached(url: str) -> dict[str, str]:
    """A server that runs."""
    return {SERVER: url}


def owned(device: str) -> dict[str, str]:
    """A server that its worker starts."""
    return {DEVICE: device}


def _worker(name: str, environment: Mapping[str, str], host: str) -> dict[str, Any]:
    return {
        "name": name,
        "nthreads": 1,
        "resources": RESOURCE,
        "memory_limit": None,
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
        "host": host,
        "env": dict(environment),
    }


def connect(address: str) -> Client:
    return Client(address, timeout=CONNECT, set_as_default=False)
