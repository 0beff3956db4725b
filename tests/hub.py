"""A small hub on this machine: what huggingface_hub asks of one to make repositories and commit."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import huggingface_hub.constants
import pytest

TOKEN = "hf_of_the_test"


@dataclass
class Repo:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040}"


@dataclass
class Hub:
    """Repositories by ``datasets/owner/name`` or ``models/owner/name``, and what was asked."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    """Beginning of a path → the status that is answered."""
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Beginning of a path → what happens once, before it is answered."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:  # noqa: PLR0911
        self.asked.append(f"{method} {path}")
        for start in [start for start in self.before if path.startswith(start)]:
            self.before.pop(start)()
        for start, status in self.refuse.items():
            if path.startswith(start):
                return status, {"error": "not here"}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
            taken = name in self.repos
            private = asked.get("visibility") == "private" or asked.get("private") is True
            self.repos.setdefault(name, Repo(private))
            return (409 if taken else 200), {"url": f"{self.url}/{name}"}
        if path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            return 200, {"errors": [], "warnings": []}
        if found := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return 200, {"transfer": "basic", "objects": [self._object(o) for o in
                                                          json.loads(body)["objects"]]}  # fmt: skip
        if path.startswith("/blobs/"):
            self.blobs[path.removeprefix("/blobs/")] = body
            return 200, {}
        found = re.fullmatch(r"/api/((?:datasets|models)/[^/]+/[^/]+)(/.*)?", path)
        if found is None or found[1] not in self.repos:
            return 404, {"error": "no such repository"}
        return self._in_repo(found[1], self.repos[found[1]], found[2] or "", body)

    def _object(self, wanted: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.url}/blobs/{wanted['oid']}"
        return {**wanted, "actions": {"upload": {"href": href, "header": {}}}}

    def _in_repo(self, name: str, repo: Repo, rest: str, body: bytes) -> tuple[int, Any]:
        if rest in ("", "/revision/main"):
            siblings = [{"rfilename": path} for path in repo.files]
            about = {"id": name.partition("/")[2], "sha": repo.sha, "private": repo.private}
            return 200, {**about, "siblings": siblings, "tags": []}
        if rest.startswith("/preupload/"):
            files = [
                {"path": each["path"], "shouldIgnore": False, "oid": None,
                 "uploadMode": "lfs" if each["path"].endswith(
                     (".parquet", ".safetensors", ".onnx")) else "regular"}
                for each in json.loads(body)["files"]
            ]  # fmt: skip
            return 200, {"files": files}
        if rest.startswith("/commits/"):
            return 200, [
                {"id": repo.sha, "title": title, "message": "", "authors": [],
                 "date": "2026-01-01T00:00:00.000Z"}
                for title in reversed(repo.commits)
            ]  # fmt: skip
        if rest.startswith("/commit/"):
            lines = [json.loads(line) for line in body.splitlines()]
            if lines[0]["value"].get("parentCommit", repo.sha) != repo.sha:
                return 412, {"error": "a commit has happened since"}
            for line in lines:
                self._apply(repo, line["key"], line["value"])
            url = f"{self.url}/{name}/commit/{repo.sha}"
            return 200, {"success": True, "commitOid": repo.sha, "commitUrl": url, "hookOutput": ""}
        return 404, {"error": rest}

    def _apply(self, repo: Repo, key: str, value: dict[str, Any]) -> None:
        if key == "header":
            repo.commits.append(value["summary"])
        elif key == "file":
            repo.files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            repo.files[value["path"]] = self.blobs[value["oid"]]
        elif key == "deletedFile":
            del repo.files[value["path"]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that is asked by this process, with the test's token."""
    known = huggingface_hub.constants
    with running() as hub:
        monkeypatch.setattr(known, "ENDPOINT", hub.url)
        monkeypatch.setattr(known, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(known, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(known, "HF_TOKEN_PATH", "/nowhere")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            if self.path.startswith("/api/") and TOKEN not in self.headers["Authorization"]:
                status, answer = 401, {"error": "who are you"}
            else:
                status, answer = hub.answer(self.command, self.path.partition("?")[0], body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
