"""Enough of the Hub's HTTP interface, on this machine, for the real client to upload to and download from."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


class HubServer(ThreadingHTTPServer):
    """Repositories are dictionaries from path to bytes; ``served`` lists the files that were downloaded."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.served: list[str] = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HubServer

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, content: object = None, *, status: int = 200, body: bytes | None = None, **headers: str) -> None:
        body = json.dumps(content).encode() if body is None else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, code: str) -> None:
        self.answer({"error": code}, status=404, X_Error_Code=code)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/tree/[^/]+|/revision/[^/]+)?", path):
            files = self.server.repositories.get(match[1])
            if files is None:
                self.missing("RepoNotFound")
            elif (match[2] or "").startswith("/tree"):
                rows = [
                    {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                    for name, body in files.items()
                ]
                self.answer(rows)
            else:
                siblings = [{"rfilename": name} for name in files]
                self.answer({"id": match[1], "modelId": match[1], "sha": COMMIT, "siblings": siblings, "tags": []})
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            body = self.server.repositories.get(match[1], {}).get(match[3])
            if body is None:
                self.missing("EntryNotFound" if match[1] in self.server.repositories else "RepoNotFound")
                return
            if self.command == "GET":
                self.server.served.append(match[3])
            etag = f'"{hashlib.sha1(body).hexdigest()}"'
            self.answer(body=body, ETag=etag, X_Repo_Commit=COMMIT)
        else:
            self.missing("EntryNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = self.headers["Content-Length"]
        data = self.rfile.read(int(length)) if length else self.read_chunks()
        path = unquote(urlsplit(self.path).path)
        if path == "/api/repos/create":
            wanted = json.loads(data)
            name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            self.server.repositories.setdefault(name, {})
            self.answer({"url": f"{self.server.endpoint}/{name}", "name": name, "id": name})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", path):
            rows = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(data)["files"]
            ]
            self.answer({"files": rows})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", path):
            for line in map(json.loads, data.splitlines()):
                if line["key"] == "file":
                    self.server.repositories[match[1]][line["value"]["path"]] = base64.b64decode(
                        line["value"]["content"]
                    )
                elif line["key"] == "deletedFile":
                    del self.server.repositories[match[1]][line["value"]["path"]]
            self.answer({"commitUrl": f"{self.server.endpoint}/{match[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        else:
            self.missing("EntryNotFound")

    def read_chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data


OTHER_COMMIT = "b" * 40


class HostileHub(HubServer):
    """Answers as :class:`HubServer`, but for what ``faults`` says of a repository.

    ``faults`` maps a repository to ``(method or "", file or "", fault)``; a fault maps what differs of the answer:
    ``status``, ``headers`` (None takes one away), ``body`` (consistent with Content-Length), ``cut`` (bytes of the
    promised body that are sent), ``raw`` (bytes instead of an answer) and ``stall`` (seconds before anything is sent).
    Those of a repository begin when ``/begin/REPOSITORY`` was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = HostileHandler
        self.faults: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
        self.begun: set[str] = set()
        self.seen: list[str] = []

    def turn(self, repository: str, **fault: Any) -> None:
        """From now on every answer about a repository differs so."""
        self.faults[repository] = [("", "", fault)]
        self.begun.add(repository)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are what is tried


class HostileHandler(Handler):
    server: HostileHub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.seen.append(f"{self.command} {path}")
        if path.startswith("/begin/"):
            self.server.begun.add(path.removeprefix("/begin/"))
            self.answer({})
            return
        super().do_GET()

    do_HEAD = do_GET

    def answer(self, content: object = None, *, status: int = 200, body: bytes | None = None, **headers: str) -> None:
        fault = self.fault()
        if not fault:
            super().answer(content, status=status, body=body, **headers)
            return
        if stall := fault.get("stall"):
            time.sleep(stall)
        self.close_connection = True
        if (raw := fault.get("raw")) is not None:
            self.wfile.write(raw)
            return
        body = fault.get("body", json.dumps(content).encode() if body is None else body)
        told = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": str(len(body))}
        told |= {"Connection": "close"} | fault.get("headers", {})
        self.send_response(fault.get("status", status))
        for name, value in told.items():
            if value is not None:
                self.send_header(name, value.replace("{self}", self.path).replace("{endpoint}", self.server.endpoint))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: fault.get("cut")])

    def fault(self) -> dict[str, Any]:
        path = unquote(urlsplit(self.path).path)
        match = re.match(r"/(?:api/models/)?([^/]+/[^/]+)(?:/resolve/[^/]+/(.+))?", path)
        if not match or match[1] not in self.server.begun:
            return {}
        merged: dict[str, Any] = {}
        for method, name, fault in self.server.faults.get(match[1], ()):
            if method in ("", self.command) and name in ("", match[2]):
                headers = {**merged.get("headers", {}), **fault.get("headers", {})}
                merged |= fault
                merged["headers"] = headers
        return merged
