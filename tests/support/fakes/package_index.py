"""A small package index on loopback: the simple API as HTML or JSON, and files that can break off."""

import http.server
import json
import threading
from base64 import b64encode
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from typing import Literal

Form = Literal["html", "json"]


class PackageServer:
    """One package with its files. What was asked is kept."""

    def __init__(self, package: str, files: dict[str, bytes], form: Form = "html") -> None:
        self.package = package
        self.files = files
        self.form: Form = form
        self.account: str | None = None
        """`USER:PASSWORD` that every request must bring."""
        self.wrong_hash = False
        self.cut_after: list[int] = []
        """Bytes after which answers with a file break off, one answer each; later ones are whole."""
        self.honours_ranges = True
        self.elsewhere: str | None = None
        """Where files are redirected to."""
        self.asked: list[tuple[str, str | None]] = []
        """Paths with the `Authorization` that came along."""
        self.url = ""

    @contextmanager
    def running(self) -> Generator["PackageServer"]:
        made = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                made.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        authorization = request.headers.get("Authorization")
        self.asked.append((request.path, authorization))
        if self.account is not None and authorization != f"Basic {b64encode(self.account.encode()).decode()}":
            request.send_error(401)
        elif request.path == f"/simple/{self.package}/":
            self._send_page(request)
        elif request.path.startswith("/files/") and request.path[7:] in self.files:
            self._send_file(request, request.path[7:])
        else:
            request.send_error(404)

    def _send_page(self, request: http.server.BaseHTTPRequestHandler) -> None:
        hashes = {name: "0" * 64 if self.wrong_hash else sha256(data).hexdigest() for name, data in self.files.items()}
        if self.form == "json":
            rows = [
                {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": hashes[name]}} for name in hashes
            ]
            body, kind = json.dumps({"meta": {}, "files": rows}), "application/vnd.pypi.simple.v1+json"
        else:
            links = [f'<a href="../../files/{name}#sha256={digest}">{name}</a>' for name, digest in hashes.items()]
            body, kind = f"<!DOCTYPE html><html><body>{'<br/>'.join(links)}</body></html>", "text/html"
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body.encode())

    def _send_file(self, request: http.server.BaseHTTPRequestHandler, name: str) -> None:
        if self.elsewhere is not None:
            request.send_response(302)
            request.send_header("Location", f"{self.elsewhere}/{name}")
            request.end_headers()
            return
        data = self.files[name]
        asked = request.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.honours_ranges else 0
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        end = start + self.cut_after.pop(0) if self.cut_after else len(data)
        request.wfile.write(data[start:end])
