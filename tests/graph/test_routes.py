"""What a route answers for each kind of error."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest


def answer(raised: Exception) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a route that raises this, asked over HTTP."""
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer
    from longtake.host.routes import _guarded

    async def failing(_: web.Request) -> web.Response:
        raise raised

    async def ask() -> tuple[int, dict[str, Any]]:
        app = web.Application()
        app.router.add_get("/", _guarded(failing))
        async with TestClient(TestServer(app)) as client:
            response = await client.get("/")
            return response.status, await response.json()

    return asyncio.run(ask())


def test_each_kind_of_error_has_its_status(comfyui: Path) -> None:
    from longtake.host.routes import Conflict, NotThere, WrongType
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.files.reading import Damaged, Unreadable

    assert answer(Refusal("no.", field="name")) == (
        400,
        {"error": "name: no.", "field": "name", "stage": None},
    )
    assert answer(Refusal("no.", field="name", stage=3))[1] == {
        "error": "stage 3, name: no.",
        "field": "name",
        "stage": 3,
    }
    kinds = [NotThere, Conflict, Damaged, WrongType, Unreadable]
    assert [answer(kind("said")) for kind in kinds] == [
        (status, {"error": "said", "field": None, "stage": None}) for status in (404, 409, 410, 415, 503)
    ]


@pytest.mark.parametrize("bug", [KeyError("inputs"), IndexError("tuple index"), ValueError("x"), OSError("y")])
def test_a_bug_is_told_to_the_log_alone(comfyui: Path, caplog: pytest.LogCaptureFixture, bug: Exception) -> None:
    with caplog.at_level(logging.ERROR):
        status, said = answer(bug)
    assert status == 500
    assert said["error"] == "this is a fault of Longtake; ComfyUI's log has the details."
    assert type(bug).__name__ in caplog.text
    assert "Traceback" in caplog.text
