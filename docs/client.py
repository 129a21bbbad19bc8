"""Longtake as a service: ComfyUI's own queue from a program, with nothing but Python's library."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

Graph = dict[str, Any]


class ComfyUI:
    def __init__(self, url: str = "http://127.0.0.1:8188"):
        self.url = url

    def upload(self, image: Path) -> str:
        """Put a picture into ComfyUI's input folder; the answer is its name for Load Image and storyboards."""
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{image.name}"\r\n\r\n'
        body = head.encode() + image.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        return self._ask("/upload/image", body, f"multipart/form-data; boundary={edge}")["name"]

    def queue(self, graph: Graph) -> str:
        """Queue an API prompt, such as those of workflows/api; raises HTTPError 400 where ComfyUI refuses it."""
        return self._ask("/prompt", json.dumps({"prompt": graph}).encode())["prompt_id"]

    def job(self, id: str) -> str:
        """waiting, running, success, error (a cancel too), or unknown: after a restart the queue is empty."""
        queue = self._ask("/queue")
        for state, entries in (("waiting", queue["queue_pending"]), ("running", queue["queue_running"])):
            if any(entry[1] == id for entry in entries):
                return state
        done = self._ask(f"/history/{id}").get(id)
        return done["status"]["status_str"] if done else "unknown"

    def jobs(self) -> list[str]:
        """Every job that has ended since ComfyUI started, the oldest first."""
        return list(self._ask("/history"))

    def unfinished(self) -> list[str]:
        """What was begun and has not ended, the newest first: what is running, and what an error, a cancel or a restart
        has ended. These are ids of prompts for `go_on`."""
        return [job["id"] for job in self._ask("/longtake/jobs")["jobs"]]

    def go_on(self, id: str) -> str:
        """Queue what is unfinished once more, also after a restart: only what is missing is rendered."""
        return self.queue(self._ask(f"/longtake/jobs/{id}")["prompt"])

    def files(self, id: str) -> list[dict[str, str]]:
        """What a job has made, as /view names it; previews have the type "temp"."""
        outputs = self._ask(f"/history/{id}")[id]["outputs"]
        lists = [entry for node in outputs.values() for entry in node.values() if isinstance(entry, list)]
        return [file for entries in lists for file in entries if isinstance(file, dict) and "filename" in file]

    def download(self, file: dict[str, str], folder: Path) -> Path:
        query = urlencode({name: file[name] for name in ("filename", "subfolder", "type")})
        path = folder / Path(file["filename"]).name
        with urlopen(f"{self.url}/view?{query}") as answer:
            path.write_bytes(answer.read())
        return path

    def again(self, id: str) -> str:
        """Queue what a job was asked once more; stages that it has finished are stored and not rendered again."""
        return self.queue(self._ask(f"/history/{id}")[id]["prompt"][2])

    def cancel(self, id: str) -> None:
        self._ask("/queue", json.dumps({"delete": [id]}).encode())
        if self.job(id) == "running":
            self._ask("/interrupt", b"{}")

    def _ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        with urlopen(Request(self.url + path, body, {"Content-Type": kind} if body else {})) as answer:
            text = answer.read()
        return json.loads(text) if text else None
