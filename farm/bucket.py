"""An object store that takes lie in: S3, Google Cloud Storage, Azure or a folder.

    <url>/takes/<key>    a take as it travels between servers; whole or absent, as object stores promise of every object
    <url>/longtake       written to see whether that is allowed

What it holds is sealed, and checked by the server that it arrives at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from .server import Gone, Refused, Unfit

MISSING = "takes in an object store need obstore: python -m pip install obstore"
SCHEMES = "s3://, gs://, az:// and file:///"
# An object store that is away is asked again for so long.
RETRIES, PATIENCE = 3, timedelta(seconds=30)


class Bucket:
    """A folder of an object store, reached with the credentials that the environment holds, as obstore reads them.

    Args:
        url: s3://bucket/folder, for example.

    Raises:
        Unfit: there is no such kind of store, or obstore is not installed.
    """

    def __init__(self, url: str):
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ModuleNotFoundError:
            raise Unfit(MISSING) from None
        self.url = url.rstrip("/")
        try:
            self._store: Any = from_url(self.url, retry_config={"max_retries": RETRIES, "retry_timeout": PATIENCE})
        except (BaseError, ValueError) as error:
            if url.startswith("file://"):
                raise Unfit(f"{url} is no folder that is there; make it, or name another.") from None
            raise Unfit(f"{url} is no object store that can be used ({_first_line(error)}); {SCHEMES} can.") from None

    def check(self) -> None:
        """Check that it is there and can be written; raises `Refused` or `Gone`."""
        with self._sentences():
            self._store.put("longtake", b"takes of Longtake\n")

    def has_take(self, key: str) -> bool:
        try:
            with self._sentences():
                self._store.head(_path(key))
        except Refused:  # of what is not there, a store that may not be listed says that it must not be read
            return False
        return True

    def take(self, key: str) -> bytes:
        with self._sentences():
            return bytes(self._store.get(_path(key)).bytes())

    def put_take(self, key: str, content: bytes) -> None:
        """Keep a take; where two servers have rendered one at once, the first stays."""
        from obstore.exceptions import AlreadyExistsError

        with self._sentences():
            try:
                self._store.put(_path(key), content, mode="create")
            except AlreadyExistsError:
                return

    def forget(self, key: str) -> None:
        """Remove a take that is not what was written."""
        with self._sentences():
            self._store.delete(_path(key))

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Errors of obstore in words, as `Refused` where asking again does not help, otherwise as `Gone`."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except FileNotFoundError:
            raise Refused(
                f"{self.url} does not have it, or there is no such bucket; make one, or name another."
            ) from None
        except (PermissionDeniedError, UnauthenticatedError, PermissionError):
            raise Refused(
                f"{self.url} must not be used with these credentials; allow them to read, write and delete there, or "
                "set others in the environment."
            ) from None
        except (BaseError, OSError) as error:
            raise Gone(f"{self.url} does not answer ({_first_line(error)}).") from None


def _path(key: str) -> str:
    return f"takes/{key}"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
