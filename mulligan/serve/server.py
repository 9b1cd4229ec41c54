"""`mulligan serve`: a page with sliders, its images, and latents of given pictures. Nothing leaves this machine."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from mulligan.errors import MulliganError, UsageError
from mulligan.grid import png
from mulligan.latent_space.project import fitting
from mulligan.serve.drawing import Wish, drawn
from mulligan.serve.uploads import MOST_BYTES, BusyError, Uploads
from mulligan.training.generator import Generator

LOOPBACK = "127.0.0.1"
MOST_THREADS = 8  # requests answered at a time
PATIENCE_SECONDS = 2.0  # that a request waits for one of them
SILENT_SECONDS = 10.0  # that a browser may take to ask, or to take an answer
HOSTS = ("127.0.0.1", "localhost")  # names that a browser may call this by; others come from pages elsewhere


def make_server(generator: Generator, port: int = 8000) -> ThreadingHTTPServer:
    """A server on the loopback address, not yet running; port 0 takes any that is free.

    Raises:
      MulliganError: the port is taken.
    """
    uploads = Uploads(generator, fitting(generator))
    handler = type("Handler", (_Handler,), {"generator": generator, "uploads": uploads})
    try:
        return _Server((LOOPBACK, port), handler)
    except OSError as error:
        raise MulliganError(f"port {port} is taken ({error.strerror}): give another `port`.") from error


class _Server(ThreadingHTTPServer):
    """Answers so many requests at a time; more wait for a moment, and are then told to come again."""

    daemon_threads = True
    request_queue_size = 64  # the default of 5 makes browsers that open several connections wait a second

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._free = threading.BoundedSemaphore(MOST_THREADS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(timeout=PATIENCE_SECONDS):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no thread could be started
                self._free.release()
                raise
            return
        with contextlib.suppress(OSError):
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers that went away or said nothing are no news."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers for one generator, which `make_server` fills in."""

    generator: Generator
    uploads: Uploads
    timeout = SILENT_SECONDS

    def do_GET(self) -> None:
        self._serve(self._drawn)

    def do_POST(self) -> None:
        """Takes a picture. Pages elsewhere cannot send one: browsers ask first whether they may send this type."""
        self._serve(self._taken)

    def _serve(self, answered: Callable[[str, dict[str, str]], tuple[str, bytes] | None]) -> None:
        """Answers with what a function of path and query gives; None is for a path that it does not know."""
        # A page elsewhere may let its own name point to this machine (DNS rebinding): the browser then sends that name.
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in HOSTS:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"ask for this page as localhost")
            return
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        try:
            found = answered(address.path, query)
        except BusyError:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"other pictures are waiting: try again")
        except (UsageError, ValueError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", str(error).encode())
        else:
            if found is None:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there is no such page")
            else:
                self._answer(HTTPStatus.OK, *found)

    def _drawn(self, path: str, query: dict[str, str]) -> tuple[str, bytes] | None:
        """The page, and what it asks for.

        Raises:
          UsageError: what cannot be drawn, or a picture that is no longer remembered.
          ValueError: something that is no number.
        """
        match path:
            case "/":
                return "text/html; charset=utf-8", resources.files("mulligan.serve").joinpath("page.html").read_bytes()
            case "/about":
                generator = self.generator
                about = {"latent": generator.latent, "shape": generator.shape, "classes": generator.classes}
                return "application/json", json.dumps(about).encode()
            case "/image.png":
                origin = self.uploads[int(query["origin"])] if query.get("origin") else None
                images = drawn(self.generator, Wish.of_query(query, self.generator, origin))
                rows, columns, h, w, c = images.shape
                grid = images.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)
                return "image/png", png(np.ascontiguousarray(grid))
            case "/given.png":
                return "image/png", png(self.uploads[int(query.get("origin") or -1)].given)
        return None

    def _taken(self, path: str, query: dict[str, str]) -> tuple[str, bytes] | None:
        """Takes the picture in the body of the request.

        Raises:
          UsageError: it is not said to be a picture, has too many bytes, or cannot be read.
          BusyError: it did not get its turn.
        """
        if path != "/upload":
            return None
        if not (self.headers.get("Content-Type") or "").startswith("image/"):
            raise UsageError("send a picture, with its type.")
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 < size <= MOST_BYTES:
            self.close_connection = True  # what is sent is not read
            raise UsageError(f"a picture has at most {MOST_BYTES // 2**20} MiB.")
        content = self.rfile.read(size)
        if len(content) < size:
            raise UsageError("the picture did not come whole.")
        number, found = self.uploads.add(content, int(query["label"]) if query.get("label") else None)
        told = {"origin": number, "label": found.label, "error": found.error}
        return "application/json", json.dumps(told).encode()

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header(
            "Content-Security-Policy", "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
        )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not printed."""
