"""The store over HTTP, below /longtake, next to ComfyUI's own routes. docs/api.md shows each with curl."""

from __future__ import annotations

import asyncio
import io as streams
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from server import PromptServer

from ..pipelines.errors import Refusal
from ..pipelines.takes import chains, housekeeping, store
from ..pipelines.takes.disk import Damaged
from ..pipelines.takes.take import KEY, Take
from .planning import plan_of

MAX_BODY = 2**20
MAX_TAKES = 10_000
Answer = Callable[[web.Request], Awaitable[web.Response]]


def add_routes() -> None:
    """Put the routes on ComfyUI's server, once."""
    server = PromptServer.instance
    if server is None:
        return
    for method, path, answer in ROUTES:
        server.routes.route(method, path)(_said(answer))


def _said(answer: Answer) -> Answer:
    """Turn refusals into 400, what is not there into 404, and damage into 410."""

    async def route(request: web.Request) -> web.Response:
        try:
            return await answer(request)
        except LookupError as error:
            return web.json_response({"error": str(error.args[0])}, status=404)
        except Damaged as error:
            return web.json_response({"error": f"damaged: {error}"}, status=410)
        except Refusal as refusal:
            return web.json_response({"error": str(refusal), "field": refusal.field}, status=400)

    return route


async def get_chains(_: web.Request) -> web.Response:
    found = await _apart(lambda: [chain.as_json() for chain in chains.list_chains(store.here())])
    return web.json_response({"chains": found})


async def get_chain(request: web.Request) -> web.Response:
    return web.json_response(_chain(request).as_json())


async def name_chain(request: web.Request) -> web.Response:
    body = await _body(request, {"name": str})
    return web.json_response(chains.rename(store.here(), _chain(request), body.get("name", "")).as_json())


async def delete_chain(request: web.Request) -> web.Response:
    chains.forget(store.here(), _chain(request))
    return web.json_response({})


async def get_takes(request: web.Request) -> web.Response:
    first, count = _number(request, "offset", 0), _number(request, "limit", 100)
    place = request.query.get("place")

    def read() -> list[dict[str, Any]]:
        total, page = store.here().newest(first, count, place)
        return [{"total": total}, *(housekeeping.summary(take, record) for take, record in page)]

    head, *takes = await _apart(read)
    return web.json_response({**head, "offset": first, "takes": takes})


async def get_take(request: web.Request) -> web.Response:
    take = _take(request)
    return web.json_response(housekeeping.summary(take, take.record()))


async def note_take(request: web.Request) -> web.Response:
    body = await _body(request, {"name": str, "keep": bool})
    take = _take(request)
    take.record()
    if body.get("name") and not chains.NAME.fullmatch(body["name"]):
        raise Refusal("a name has 1 to 120 characters and no line breaks.", field="name")
    take.note(**body)
    return web.json_response(housekeeping.summary(take, take.record()))


async def delete_take(request: web.Request) -> web.Response:
    await _apart(lambda: housekeeping.delete(store.here(), _take(request)))
    return web.json_response({})


async def get_thumbnail(request: web.Request) -> web.Response:
    from PIL import Image

    def picture() -> bytes:
        tensors = _take(request).tensors()
        if "thumbnail" not in tensors:
            raise LookupError("this take has no thumbnail")
        file = streams.BytesIO()
        Image.fromarray(tensors["thumbnail"].numpy()).save(file, "PNG")
        return file.getvalue()

    return web.Response(body=await _apart(picture), content_type="image/png")


async def plan(request: web.Request) -> web.Response:
    body = await _body(request, {"prompt": dict})
    if "prompt" not in body:
        raise Refusal("an API prompt with a Render Storyboard node is needed, as for /prompt.", field="prompt")
    return web.json_response(await _apart(lambda: plan_of(body["prompt"])))


async def verify(_: web.Request) -> web.Response:
    return web.json_response({"problems": await _apart(lambda: list(housekeeping.verify(store.here())))})


async def prune(request: web.Request) -> web.Response:
    body = await _body(request, {"bytes": int})
    if body.get("bytes", -1) < 0:
        raise Refusal("a number of bytes, 0 or more, is needed: what the takes may take together.", field="bytes")
    done = await _apart(lambda: housekeeping.prune(store.here(), body["bytes"]))
    return web.json_response({"removed": done.removed, "freed": done.freed, "bytes": done.size})


async def get_limit(_: web.Request) -> web.Response:
    return web.json_response({"bytes": housekeeping.limit(store.here())})


async def set_limit(request: web.Request) -> web.Response:
    body = await _body(request, {"bytes": (int, type(None))})
    if "bytes" not in body or (body["bytes"] is not None and body["bytes"] < 0):
        raise Refusal("a number of bytes, 0 or more, or null for no limit, is needed.", field="bytes")
    housekeeping.set_limit(store.here(), body["bytes"])
    return web.json_response(body)


ROUTES: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "/longtake/chains", get_chains),
    ("GET", "/longtake/chains/{id}", get_chain),
    ("POST", "/longtake/chains/{id}", name_chain),
    ("DELETE", "/longtake/chains/{id}", delete_chain),
    ("GET", "/longtake/takes", get_takes),
    ("GET", "/longtake/takes/{key}", get_take),
    ("POST", "/longtake/takes/{key}", note_take),
    ("DELETE", "/longtake/takes/{key}", delete_take),
    ("GET", "/longtake/takes/{key}/thumbnail", get_thumbnail),
    ("POST", "/longtake/plan", plan),
    ("POST", "/longtake/verify", verify),
    ("POST", "/longtake/prune", prune),
    ("GET", "/longtake/limit", get_limit),
    ("POST", "/longtake/limit", set_limit),
)


def _chain(request: web.Request) -> chains.StoredChain:
    wanted = request.match_info["id"]
    found = chains.find(store.here(), wanted) if chains.ID.fullmatch(wanted) else None
    if found is None:
        raise LookupError("there is no such chain; an id is 16 hex digits")
    return found


def _take(request: web.Request) -> Take:
    wanted = request.match_info["key"]
    found = store.here().take(wanted) if KEY.fullmatch(wanted) else None
    if found is None:
        raise LookupError("there is no such take; a key is 64 hex digits")
    return found


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text[:9]) > MAX_TAKES * 100:
        raise Refusal(f"{text[:20]!r} is given; a whole number, 0 or more, is needed.", field=name)
    return int(text)


async def _body(request: web.Request, fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a request, its fields known and of their types."""
    if (request.content_length or 0) > MAX_BODY:
        raise Refusal(f"more than {MAX_BODY} bytes.")
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal("a JSON object is needed.")
    for name, value in body.items():
        if name not in fields:
            raise Refusal(f"there is no such field; known here: {', '.join(fields)}.", field=str(name)[:80])
        if not isinstance(value, fields[name]) or (isinstance(value, bool) and fields[name] is not bool):
            raise Refusal("its type is not the one needed.", field=name)
    return body


async def _apart(work: Callable[[], Any]) -> Any:
    """Do what reads many files beside the server's own loop."""
    return await asyncio.get_running_loop().run_in_executor(None, work)
