"""The store over HTTP, below /longtake, next to ComfyUI's own routes. docs/api.md shows each with curl."""

from __future__ import annotations

import asyncio
import functools
import hmac
import io as streams
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from server import PromptServer

from ..pipelines.errors import Refusal
from ..pipelines.files.reading import Damaged, Unreadable
from ..pipelines.takes import chains, housekeeping, jobs, store, temp, travel
from ..pipelines.takes.folder_name import name_of
from ..pipelines.takes.take import KEY, Take
from .version import VERSION

log = logging.getLogger(__name__)

MAX_BODY = 2**20
SHARED_BY = "LONGTAKE_TOKEN"  # in the environment: a secret of all servers that give each other takes
MAX_DIGITS = 9
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")

# Threads of the pack's own: ComfyUI serves its page and its files on asyncio's, which long work would use up.
_threads = ThreadPoolExecutor(4, thread_name_prefix="longtake-routes")
_changing = threading.Lock()  # held while something is read, changed and written back


class NotThere(Exception):
    """What a request names does not exist."""


class Conflict(Exception):
    """What a request asks for cannot be done while something else is being done."""


class Forbidden(Exception):
    """What a request asks for is not for everybody."""


class WrongType(Exception):
    """The body of a request is not declared as JSON."""


# By class, the first that fits; everything else is a fault of the pack, 500.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (Unreadable, 503),
    (Refusal, 400),
    (Forbidden, 403),
    (NotThere, 404),
    (Conflict, 409),
    (Damaged, 410),
    (WrongType, 415),
)


def add_routes() -> None:
    """Put the routes on ComfyUI's server, once."""
    server = PromptServer.instance
    if server is None:
        return
    for method, path, answer in ROUTES:
        server.routes.route(method, path)(_guarded(answer))


def _guarded(answer: Answer) -> Answer:
    """Let a route answer JSON only to those who ask for it as such, and every error with its status and a sentence.

    A page of another origin can send a POST without being asked first, but not one of type application/json.
    """

    async def route(request: web.Request) -> web.StreamResponse:
        try:
            if request.method == "POST" and request.content_type != "application/json":
                raise WrongType(f"Content-Type is {request.content_type}; application/json is needed.")
            return await answer(request)
        except web.HTTPException:
            raise
        except Exception as error:
            status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
            if status == 500:
                log.exception("Longtake: %s %s failed", request.method, request.path)
                error = RuntimeError("this is a fault of Longtake; ComfyUI's log has the details.")
            said = {"error": str(error), **{of: getattr(error, of, None) for of in ("field", "stage")}}
            return web.json_response(said, status=status)

    return route


class Alone:
    """Work that is done once at a time, on a thread of its own that does not keep ComfyUI from ending.

    Args:
        what: is done to the store, for the refusal of a second one.
    """

    def __init__(self, what: str):
        self._what = what
        self._doing = threading.Lock()

    async def do(self, work: Callable[[], T]) -> T:
        """Do it; a client that goes away does not end it. Raises `Conflict` while it is being done."""
        if not self._doing.acquire(blocking=False):
            raise Conflict(f"the store is being {self._what} already; ask again when that has ended.")
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # from here on nothing cancels it

        def run() -> None:
            try:
                outcome = work()
            except Exception as error:
                self._doing.release()
                done.set_exception(error)
            else:
                self._doing.release()
                done.set_result(outcome)

        threading.Thread(target=run, name=f"longtake-{self._what}", daemon=True).start()
        return await asyncio.wrap_future(done)


_verifying, _pruning = Alone("verified"), Alone("pruned")


async def get_server(_: web.Request) -> web.Response:
    """What tells this server from others that work on the same films."""
    return await _json(
        lambda: {"version": VERSION, "temp": name_of(temp.temp_folder()), "store": name_of(store.here().root)}
    )


async def get_chains(_: web.Request) -> web.Response:
    return await _json(lambda: {"chains": [chain.as_json() for chain in chains.list_chains(store.here())]})


async def get_chain(request: web.Request) -> web.Response:
    return await _json(lambda: _chain(request).as_json())


async def name_chain(request: web.Request) -> web.Response:
    body = await _body(request, {"name": str})

    def rename() -> dict[str, Any]:
        with _changing:
            return chains.rename(store.here(), _chain(request), body.get("name", "")).as_json()

    return await _json(rename)


async def delete_chain(request: web.Request) -> web.Response:
    def forget() -> dict[str, Any]:
        with _changing:
            chains.forget(store.here(), _chain(request))
        return {}

    return await _json(forget)


async def get_takes(request: web.Request) -> web.Response:
    first, count = _number(request, "offset", 0), _number(request, "limit", 100)
    place = request.query.get("place")

    def read() -> dict[str, Any]:
        total, page = store.here().newest(first, count, place)
        takes = [housekeeping.summary(take, record) for take, record in page]
        return {"total": total, "offset": first, "takes": takes}

    return await _json(read)


async def get_take(request: web.Request) -> web.Response:
    return await _json(lambda: _summary(_take(request)))


async def note_take(request: web.Request) -> web.Response:
    body = await _body(request, {"name": str, "keep": bool, "approved": bool})
    if body.get("name") and not chains.NAME.fullmatch(body["name"]):
        raise Refusal("a name has 1 to 120 characters and no line breaks.", field="name")

    def note() -> dict[str, Any]:
        with _changing:
            take = _take(request)
            take.record()
            take.note(**body)
            return _summary(take)

    return await _json(note)


async def delete_take(request: web.Request) -> web.Response:
    def delete() -> dict[str, Any]:
        with _changing:
            housekeeping.delete(store.here(), _take(request))
        return {}

    return await _json(delete)


async def get_thumbnail(request: web.Request) -> web.Response:
    from PIL import Image
    from safetensors.torch import load

    def picture() -> bytes:
        tensors = load(_take(request).checked())
        if "thumbnail" not in tensors:
            raise NotThere("this take has no thumbnail")
        file = streams.BytesIO()
        Image.fromarray(tensors["thumbnail"].numpy()).save(file, "PNG")
        return file.getvalue()

    return web.Response(body=await _in_thread(picture), content_type="image/png")


async def send_take(request: web.Request) -> web.StreamResponse:
    """A whole take, for a server that shares no folder with this one."""
    _check_token(request)
    size, chunks = await _in_thread(lambda: travel.packed(_take(request)))
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = size
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


async def receive_take(request: web.Request) -> web.Response:
    """A whole take of a server that shares no folder with this one; it appears when all of it is there and checked."""
    _check_token(request)
    key, size = request.match_info["key"], request.content_length
    if not KEY.fullmatch(key):
        raise NotThere("a key is 64 hex digits")
    if size is None:
        raise Refusal("its Content-Length is needed.")
    arriving = await _in_thread(lambda: travel.Arriving(store.here(), key, size))
    try:
        async for chunk in request.content.iter_chunked(travel.CHUNK):
            await _in_thread(functools.partial(arriving.add, chunk))
        return await _json(lambda: _summary(arriving.keep()))
    finally:
        await _in_thread(arriving.close)


def _check_token(request: web.Request) -> None:
    """Let nobody move takes but who knows this server's token."""
    token = os.environ.get(SHARED_BY, "")
    if not token:
        raise Forbidden(f"this server moves no takes; start it with {SHARED_BY}, a secret of all servers of a farm.")
    said = request.headers.get("Authorization", "")
    if not hmac.compare_digest(said.encode(), f"Bearer {token}".encode()):
        raise Forbidden(f"the token is not this server's {SHARED_BY}.")


async def get_clip(request: web.Request) -> web.StreamResponse:
    """What the film shows of a take, to be played, as far as that needs no model."""
    from ..pipelines.film.preview import preview_at_hand

    def preview_path() -> Path:
        take = _take(request)
        first = _number(request, "first", 0)
        stop = _number(request, "stop", take.facts()["frames"])
        path = preview_at_hand(take, first, stop)
        if path is None:
            raise NotThere(
                "its frames are not decoded, which takes its model: they are once the film has been encoded, until "
                "ComfyUI starts again"
            )
        return path

    return web.FileResponse(await _in_thread(preview_path), headers={"Content-Type": "video/mp4"})


async def get_jobs(_: web.Request) -> web.Response:
    return await _json(lambda: {"jobs": [{"id": job.id, "begun": job.begun} for job in jobs.unfinished(store.here())]})


async def get_job(request: web.Request) -> web.Response:
    return await _json(lambda: vars(_job(request)))


async def delete_job(request: web.Request) -> web.Response:
    def forget() -> dict[str, Any]:
        jobs.end(store.here(), _job(request).id)
        return {}

    return await _json(forget)


async def plan(request: web.Request) -> web.Response:
    from .plan import plan_of

    body = await _body(request, {"prompt": dict, "node": str})
    if "prompt" not in body:
        raise Refusal("an API prompt with a Render Storyboard node is needed, as for /prompt.", field="prompt")
    return await _json(lambda: plan_of(body["prompt"], body.get("node")))


async def read_storyboard(request: web.Request) -> web.Response:
    """Whatever a storyboard may be written as, as JSON."""
    body = await _body(request, {"text": str})
    return await _json(lambda: _read_storyboard(body.get("text", "")))


def _read_storyboard(text: str) -> dict[str, Any]:
    from ..pipelines.storyboard.text import parse, to_json

    board = parse(text)
    return {"storyboard": to_json(board), "notes": list(board.notes)}


async def verify(_: web.Request) -> web.Response:
    problems = await _verifying.do(lambda: list(housekeeping.verify(store.here())))
    return web.json_response({"problems": problems})


async def prune(request: web.Request) -> web.Response:
    body = await _body(request, {"bytes": int, "only_look": bool})
    if body.get("bytes", -1) < 0:
        raise Refusal("a number of bytes, 0 or more, is needed: what the takes may take together.", field="bytes")
    only_look = body.get("only_look", False)
    done = await _pruning.do(lambda: housekeeping.prune(store.here(), body["bytes"], only_look))
    return web.json_response({"removed": done.removed, "freed": done.freed, "bytes": done.size})


async def get_limit(_: web.Request) -> web.Response:
    return await _json(lambda: {"bytes": housekeeping.limit(store.here())})


async def set_limit(request: web.Request) -> web.Response:
    body = await _body(request, {"bytes": (int, type(None))})
    if "bytes" not in body or (body["bytes"] is not None and body["bytes"] < 0):
        raise Refusal("a number of bytes, 0 or more, or null for no limit, is needed.", field="bytes")

    def keep() -> dict[str, Any]:
        housekeeping.set_limit(store.here(), body["bytes"])
        return body

    return await _json(keep)


ROUTES: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "/longtake/server", get_server),
    ("GET", "/longtake/chains", get_chains),
    ("GET", "/longtake/chains/{id}", get_chain),
    ("POST", "/longtake/chains/{id}", name_chain),
    ("DELETE", "/longtake/chains/{id}", delete_chain),
    ("GET", "/longtake/takes", get_takes),
    ("GET", "/longtake/takes/{key}", get_take),
    ("POST", "/longtake/takes/{key}", note_take),
    ("DELETE", "/longtake/takes/{key}", delete_take),
    ("GET", "/longtake/takes/{key}/whole", send_take),
    ("PUT", "/longtake/takes/{key}/whole", receive_take),
    ("GET", "/longtake/takes/{key}/thumbnail", get_thumbnail),
    ("GET", "/longtake/takes/{key}/clip", get_clip),
    ("GET", "/longtake/jobs", get_jobs),
    ("GET", "/longtake/jobs/{id}", get_job),
    ("DELETE", "/longtake/jobs/{id}", delete_job),
    ("POST", "/longtake/plan", plan),
    ("POST", "/longtake/storyboard", read_storyboard),
    ("POST", "/longtake/verify", verify),
    ("POST", "/longtake/prune", prune),
    ("GET", "/longtake/limit", get_limit),
    ("POST", "/longtake/limit", set_limit),
)


def _chain(request: web.Request) -> chains.StoredChain:
    chain_id = request.match_info["id"]
    chain = chains.find(store.here(), chain_id) if chains.ID.fullmatch(chain_id) else None
    if chain is None:
        raise NotThere("there is no such chain; an id is 16 hex digits")
    return chain


def _job(request: web.Request) -> jobs.Job:
    job = jobs.find(store.here(), request.match_info["id"])
    if job is None:
        raise NotThere("there is no such job, or it has ended; an id is 16 hex digits")
    return job


def _take(request: web.Request) -> Take:
    key = request.match_info["key"]
    take = store.here().take(key) if KEY.fullmatch(key) else None
    if take is None:
        raise NotThere("there is no such take; a key is 64 hex digits")
    return take


def _summary(take: Take) -> dict[str, Any]:
    return housekeeping.summary(take, take.record())


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise Refusal(
            f"{text[:20]!r} is given; a whole number of at most {MAX_DIGITS} digits, 0 or more, is needed.", field=name
        )
    return int(text)


async def _body(request: web.Request, fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a request, its fields known and of their types."""
    raw = bytearray()
    async for chunk in request.content.iter_chunked(2**16):
        raw += chunk
        if len(raw) > MAX_BODY:
            raise Refusal(f"a body of at most {MAX_BODY} bytes is read.")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refusal("a JSON object is needed.")
    for name, value in body.items():
        if name not in fields:
            raise Refusal(f"there is no such field; known here: {', '.join(fields)}.", field=str(name)[:80])
        if not isinstance(value, fields[name]) or (isinstance(value, bool) and fields[name] is not bool):
            raise Refusal("its type is not the one needed.", field=name)
    return body


async def _json(work: Callable[[], Any]) -> web.Response:
    """What `work` gives, as JSON; both are made beside the server's own loop."""
    text = await _in_thread(lambda: json.dumps(work()))
    return web.Response(text=text, content_type="application/json")


async def _in_thread(work: Callable[[], T]) -> T:
    """Do what touches files beside the server's own loop."""
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
