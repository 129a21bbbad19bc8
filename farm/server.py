"""One ComfyUI server with this pack, spoken to over HTTP and its websocket."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Event = Mapping[str, Any]

# Servers of a farm are neighbours: no proxy stands between them.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TOKEN_IN = "LONGTAKE_TOKEN"  # noqa: S105 - of the environment: the secret of servers that give each other takes
FINISHED = ("execution_success", "execution_error", "execution_interrupted")
ANSWER = 60.0  # seconds; a server that loads a model may be slow to answer
LOOK = 0.5  # seconds between two looks whether the film has been cancelled
BACK = 10.0  # seconds that a broken connection may take to come back


class Gone(Exception):
    """A server that does not answer any more, or was started again and has forgotten what it was asked."""


class Refused(Exception):
    """What a server says no to, in its own words."""


class Spoilt(Refused):
    """A take that is not what was written."""


class Unfit(Exception):
    """A server that cannot render for this farm, and why."""


class Failed(Exception):
    """A stage that a server tried to render and could not."""


class Cancelled(Exception):
    """The film has been cancelled."""


@cache
def version() -> str:
    """The version of this pack."""
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert match is not None  # noqa: S101 - it is this repository's own file
    return match[1]


@dataclass
class Ran:
    """What a server did for a prompt.

    Attributes:
        rendered, stored: keys of takes that were rendered now, and that were there.
        files: that it made, as `/view` names them; previews are none.
    """

    rendered: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class About:
    """What a server says of itself.

    Args:
        version: of the pack.
        temp, store: name its temp folder and its store; servers that say the same name share the folder.
    """

    version: str
    temp: str
    store: str


class Server:
    """A ComfyUI server.

    Args:
        url: of its root.
        token: that it was started with, by which it gives and takes takes.
    """

    def __init__(self, url: str, token: str = ""):
        self.url = url.rstrip("/")
        self._token = token

    def ask(self, path: str, body: Any = None, timeout: float = ANSWER) -> Any:
        """GET a path, or POST JSON to it, and return its JSON; None where it answers nothing.

        Raises:
            Refused: it says no.
            Gone: it does not answer.
        """
        request = urllib.request.Request(self.url + path)  # noqa: S310
        if body is not None:
            request = urllib.request.Request(  # noqa: S310
                self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
        text = self._read(request, timeout)
        return json.loads(text) if text else None

    def about(self) -> About:
        """What it says of itself.

        Raises:
            Unfit: it has no pack of this version.
            Gone: it does not answer.
        """
        try:
            said = self.ask("/longtake/server")
            about = About(said["version"], said["temp"], said["store"])
        except (Refused, ValueError, KeyError, TypeError) as error:
            if isinstance(error, Refused) and not str(error).startswith("HTTP"):
                raise Unfit(f"{self.url} cannot render for a farm: {error}") from None
            raise Unfit(f"{self.url} has no Longtake, or one without farms; install version {version()}.") from None
        if about.version != version():
            raise Unfit(f"{self.url} has Longtake {about.version}, and this is {version()}; they must be the same.")
        return about

    def put_input(self, name: str, content: bytes) -> None:
        """Have a file in the server's input folder, under a name that says what is in it.

        Raises:
            Refused: it does not take it.
            Gone: it does not answer.
        """
        folder, _, file = name.rpartition("/")
        query = urlencode({"filename": file, "subfolder": folder, "type": "input"})
        try:
            self._read(urllib.request.Request(f"{self.url}/view?{query}", method="HEAD"), ANSWER)  # noqa: S310
            return
        except Refused:
            pass
        edge = uuid.uuid4().hex
        part = f'--{edge}\r\nContent-Disposition: form-data; name="{{}}"'
        head = (
            part.format("subfolder") + f"\r\n\r\n{folder}\r\n" + part.format("image") + f'; filename="{file}"\r\n\r\n'
        )
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/upload/image",
            head.encode() + content + f"\r\n--{edge}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={edge}"},
        )
        self._read(request, ANSWER)

    def has_take(self, key: str) -> bool:
        try:
            self.ask(f"/longtake/takes/{key}")
        except Refused:
            return False
        return True

    def thumbnail(self, key: str) -> bytes:
        """The picture of a take, a PNG.

        Raises:
            Refused: there is no such take, or it has none.
            Gone: it does not answer.
        """
        return self._read(urllib.request.Request(f"{self.url}/longtake/takes/{key}/thumbnail"), ANSWER)  # noqa: S310

    def take(self, key: str) -> bytes:
        """A take as it travels.

        Raises:
            Spoilt: it is not what was written.
            Refused: there is none, or this farm's token is not the server's.
            Gone: it does not answer.
        """
        request = urllib.request.Request(self._whole(key), headers=self._authorized)  # noqa: S310
        return self._read(request, ANSWER)

    def put_take(self, key: str, content: bytes) -> None:
        """Have a take there, which is checked where it arrives; raises as `take` does."""
        request = urllib.request.Request(self._whole(key), content, self._authorized, method="PUT")  # noqa: S310
        self._read(request, ANSWER)

    def _whole(self, key: str) -> str:
        return f"{self.url}/longtake/takes/{key}/whole"

    @property
    def _authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def download(self, file: Mapping[str, str], folder: Path) -> Path:
        """Fetch a file that a prompt has made; its name gets a number where the folder has one of that name."""
        query = urlencode({name: file.get(name, "") for name in ("filename", "subfolder", "type")})
        path = folder / Path(file["filename"]).name
        number = 1
        while path.exists():
            path = folder / f"{Path(file['filename']).stem} ({number}){path.suffix}"
            number += 1
        partial = path.with_name(f".{path.name}.part")
        try:
            with _OPENER.open(f"{self.url}/view?{query}", timeout=ANSWER) as answer, partial.open("wb") as file_there:
                while chunk := answer.read(2**20):
                    file_there.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def run(
        self, graph: Mapping[str, Any], on_event: Callable[[str, Event], None], cancelled: Callable[[], bool]
    ) -> Ran:
        """Queue a prompt and follow it to its end.

        Args:
            on_event: called with kind and data of each event of this prompt.
            cancelled: asked twice a second; the prompt is then cancelled on the server too.

        Raises:
            Refused: the server does not queue it, or a node refuses it.
            Failed: a node failed.
            Cancelled: as `cancelled` said, or on the server.
            Gone: the server does not answer any more.
        """
        import aiohttp

        try:
            return asyncio.run(_Following(self, graph, on_event, cancelled).follow())
        except (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError, TimeoutError) as error:
            raise Gone(f"{self.url} does not answer any more ({type(error).__name__}).") from error

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, or end it where it runs; others stay."""
        self.ask("/queue", {"delete": [prompt_id]})
        running = [entry[1] for entry in self.ask("/queue")["queue_running"]]
        if prompt_id in running:
            self.ask("/interrupt", {"prompt_id": prompt_id})

    def _read(self, request: urllib.request.Request, timeout: float) -> bytes:
        try:
            with _OPENER.open(request, timeout=timeout) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            refused = Spoilt if error.code == HTTPStatus.GONE else Refused
            raise refused(_refusal_in(error.read(), error.code)) from None
        except OSError as error:
            raise Gone(f"{self.url} does not answer ({getattr(error, 'reason', error)}).") from None


class _Following:
    """A prompt on its way through a server."""

    def __init__(
        self,
        server: Server,
        graph: Mapping[str, Any],
        on_event: Callable[[str, Event], None],
        cancelled: Callable[[], bool],
    ):
        self._server, self._graph, self._on_event, self._cancelled = server, graph, on_event, cancelled
        self._client, self._prompt = uuid.uuid4().hex, ""
        self._ran, self._refused = Ran(), ""

    async def follow(self) -> Ran:
        import aiohttp

        # An answer may take as long as a film: the websocket's own beat tells a server that is gone.
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=BACK)) as session:
            end = None
            while end is None:
                address = f"{self._server.url}/ws?clientId={self._client}"
                async with session.ws_connect(address, max_msg_size=0, heartbeat=ANSWER) as socket:
                    if not self._prompt:
                        await self._queue(session)
                    end = await self._end(socket)
                if end is None:
                    end = await self._ended_meanwhile(session)
            return await self._outcome(session, *end)

    async def _queue(self, session: Any) -> None:
        body = {"prompt": self._graph, "client_id": self._client}
        async with session.post(f"{self._server.url}/prompt", json=body) as answer:
            text = await answer.read()
            if answer.status != 200:
                raise Refused(_refusal_in(text, answer.status))
            self._prompt = json.loads(text)["prompt_id"]

    async def _end(self, socket: Any) -> tuple[str, Event] | None:
        """The event that ends the prompt; None where the connection breaks before it."""
        import aiohttp

        while True:
            if self._cancelled():
                await asyncio.to_thread(self._server.cancel, self._prompt)
                raise Cancelled
            try:
                message = await socket.receive(LOOK)
            except (asyncio.TimeoutError, TimeoutError):
                continue
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return None
            if message.type != aiohttp.WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            kind, data = event["type"], event.get("data") or {}
            if data.get("prompt_id") != self._prompt:
                continue
            self._note(kind, data)
            self._on_event(kind, data)
            if kind in FINISHED:
                return kind, data

    def _note(self, kind: str, data: Event) -> None:
        if kind == "longtake.stage_done":
            self._ran.rendered.append(data["take"])
        elif kind == "longtake.stored_hit":
            self._ran.stored.append(data["take"])
        elif kind == "longtake.refused":
            self._refused = data["message"]

    async def _ended_meanwhile(self, session: Any) -> tuple[str, Event] | None:
        """How the prompt ended while the connection was broken; None where it has not.

        Raises:
            Gone: the server does not know it any more.
        """
        async with session.get(f"{self._server.url}/history/{self._prompt}") as answer:
            done = (await answer.json()).get(self._prompt)
        if done is not None:
            messages = {kind: data for kind, data in done["status"].get("messages", [])}
            kind = next((kind for kind in FINISHED if kind in messages), "execution_success")
            return kind, messages.get(kind, {})
        async with session.get(f"{self._server.url}/queue") as answer:
            queue = await answer.json()
        if not any(entry[1] == self._prompt for entries in queue.values() for entry in entries):
            raise Gone(f"{self._server.url} was started again and does not know the prompt any more.")
        return None

    async def _outcome(self, session: Any, kind: str, data: Event) -> Ran:
        if kind == "execution_interrupted":
            raise Cancelled
        if kind == "execution_error":
            said = str(data.get("exception_message", "")).strip()
            if self._refused:
                raise Refused(said or self._refused)
            raise Failed(f"{data.get('node_type')}: {said}")
        self._ran.files = await self._files(session)
        return self._ran

    async def _files(self, session: Any) -> list[dict[str, str]]:
        """What it made. The history is written a moment after the end is announced."""
        for _ in range(100):
            async with session.get(f"{self._server.url}/history/{self._prompt}") as answer:
                history = await answer.json()
            if self._prompt in history:
                shown = history[self._prompt]["outputs"].values()
                groups = [group for node in shown for group in node.values() if isinstance(group, list)]
                files = [file for group in groups for file in group if isinstance(file, dict) and "filename" in file]
                return [file for file in files if file.get("type") != "temp"]
            await asyncio.sleep(0.05)
        return []


def _refusal_in(answer: bytes, status: int) -> str:
    """What a server says when it refuses: the pack's sentence, or ComfyUI's list of what is wrong."""
    try:
        said = json.loads(answer)
        error = said["error"]
        if isinstance(error, str):
            return error
        problems = [
            f"{node['class_type']}: {problem['message']}: {problem['details']}"
            for node in (said.get("node_errors") or {}).values()
            for problem in node["errors"]
        ]
        return "; ".join(problems) or str(error["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {status}"
