"""Queue an API prompt over HTTP and follow it over the websocket, as a client without a browser does."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Prompt = Mapping[str, Mapping[str, Any]]
Event = Mapping[str, Any]

# protocol.BinaryEventTypes of ComfyUI
PREVIEW, TEXT, PREVIEW_WITH_METADATA = 1, 3, 4
FINISHED = ("execution_success", "execution_error", "execution_interrupted")


@dataclass
class Result:
    """What became of a prompt.

    Attributes:
        prompt_id: empty where the prompt was refused.
        refused: the answer of a server that would not queue it (`error`, `node_errors`), else None.
        error: of a node that failed (`node_id`, `node_type`, `exception_type`, `exception_message`, `traceback`).
        interrupted: it was cancelled.
        outputs: node id -> what the node shows (`images`, `text`, ...), from the history.
        events: everything the server said, in order, as {"type", "data"}: JSON messages as they came; a progress text
            with data {"node", "text"}; a preview with data {"node", "image"}, the image as an encoded file.
        seconds: from queueing to the end.
    """

    prompt_id: str = ""
    refused: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    interrupted: bool = False
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return bool(self.prompt_id) and self.refused is None and self.error is None and not self.interrupted

    def of(self, kind: str) -> list[Any]:
        """The data of every event of one kind: "progress", "executed", "progress_text", "preview", ..."""
        return [event["data"] for event in self.events if event["type"] == kind]

    @property
    def texts(self) -> list[str]:
        return [data["text"] for data in self.of("progress_text")]

    @property
    def cached(self) -> set[str]:
        """Ids of the nodes that did not have to run."""
        return {node for data in self.of("execution_cached") for node in data["nodes"]}

    @property
    def ran(self) -> list[str]:
        """Ids of the nodes that ran, in order."""
        return [data["node"] for data in self.of("executing") if data["node"] is not None]

    def why(self) -> str:
        """Say in a few lines why it did not succeed."""
        if self.refused is not None:
            problems = [self.refused.get("error", {})]
            for node in self.refused.get("node_errors", {}).values():
                problems += [{**problem, "node": node["class_type"]} for problem in node["errors"]]
            return "\n".join(f"{p.get('node', 'prompt')}: {p.get('message')} {p.get('details')}" for p in problems)
        if self.error is not None:
            error = self.error
            return f"{error['node_type']} (node {error['node_id']}): {error['exception_message']}"
        return "it was interrupted" if self.interrupted else "it succeeded"


def follow(
    url: str,
    prompt: Prompt,
    timeout: float,
    on_event: Callable[[Event], None] | None,
    extra_data: Mapping[str, Any] | None,
    targets: Sequence[str] | None = None,
) -> Result:
    """Queue `prompt` and wait for its end; raises TimeoutError, and OSError where the connection breaks."""

    async def within() -> Result:
        return await asyncio.wait_for(_follow(url, prompt, on_event, extra_data, targets), timeout)

    try:
        return asyncio.run(within())
    except asyncio.TimeoutError as error:  # its own class before Python 3.11
        raise TimeoutError from error
    except aiohttp.ClientError as error:
        raise OSError(str(error)) from error


async def _follow(
    url: str,
    prompt: Prompt,
    on_event: Callable[[Event], None] | None,
    extra_data: Mapping[str, Any] | None,
    targets: Sequence[str] | None,
) -> Result:
    client, result, started = uuid.uuid4().hex, Result(), time.monotonic()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws?clientId={client}", max_msg_size=0) as ws,
    ):
        await ws.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        body: dict[str, Any] = {"prompt": prompt, "client_id": client, "extra_data": dict(extra_data or {})}
        if targets is not None:
            body["partial_execution_targets"] = list(targets)
        async with session.post(f"{url}/prompt", json=body) as answer:
            said = await answer.json()
        if answer.status != 200:
            result.refused = said
            return result
        result.prompt_id = said["prompt_id"]
        async for message in ws:
            event = decode(message)
            if event is None:
                continue
            result.events.append(event)
            if on_event is not None:
                on_event(event)
            if event["type"] in FINISHED and event["data"].get("prompt_id") == result.prompt_id:
                break
        else:
            raise ConnectionResetError("the server closed the connection")
        result.error = event["data"] if event["type"] == "execution_error" else None
        result.interrupted = event["type"] == "execution_interrupted"
        result.seconds = time.monotonic() - started
        result.outputs = await _outputs(session, f"{url}/history/{result.prompt_id}", result.prompt_id)
    return result


async def _outputs(session: aiohttp.ClientSession, address: str, prompt_id: str) -> dict[str, dict[str, Any]]:
    """The history is written a moment after the end is announced."""
    while True:
        async with session.get(address) as answer:
            history = await answer.json()
        if prompt_id in history:
            return history[prompt_id]["outputs"]
        await asyncio.sleep(0.02)


def decode(message: aiohttp.WSMessage) -> Event | None:
    """Bring a websocket message to the shape {"type", "data"}; None for a kind that no test asks about."""
    if message.type == aiohttp.WSMsgType.TEXT:
        return json.loads(message.data)
    if message.type != aiohttp.WSMsgType.BINARY:
        return None
    kind, payload = struct.unpack(">I", message.data[:4])[0], message.data[4:]
    if kind == PREVIEW:
        return {"type": "preview", "data": {"node": None, "image": payload[4:]}}
    if kind not in (TEXT, PREVIEW_WITH_METADATA):
        return None
    length = struct.unpack(">I", payload[:4])[0]
    head, rest = payload[4 : 4 + length], payload[4 + length :]
    if kind == TEXT:
        return {"type": "progress_text", "data": {"node": head.decode(), "text": rest.decode()}}
    return {"type": "preview", "data": {"node": json.loads(head).get("node_id"), "image": rest}}
