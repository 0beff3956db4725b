"""What docs/serving.md prints runs as it stands there."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill import Classifier
from tests.conftest import ROOT

PAGES = {"docs/serving.md": (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")}


def code(page: str, beginning: str) -> str:
    """The one block of Python that begins so."""
    found = re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.DOTALL)
    (block,) = (block for block in found if block.startswith(beginning))
    return str(block)


@pytest.mark.parametrize(
    ("page", "beginning"),
    [
        ("docs/serving.md", "from distill import Classifier"),
        ("docs/serving.md", "import json\n\nimport numpy"),
    ],
)
def test_the_examples_run(exported: Path, page: str, beginning: str) -> None:
    script = code(page, beginning).replace('"export', f'"{exported}')
    script = f"import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n{script}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    assert re.match(r"\[?'?(positive|negative)", done.stdout)


@pytest.fixture(scope="module")
def port(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    script = tmp_path_factory.mktemp("server") / "serve.py"
    script.write_text(code("docs/serving.md", '"""python serve.py'), encoding="utf-8")
    command = [sys.executable, str(script), str(exported / "onnx"), "0"]
    environment = {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline().rpartition(":")[2])
    finally:
        server.terminate()
        server.communicate(timeout=30)


def post(port: int, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/", body, headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def test_the_server_answers_as_the_class_does(exported: Path, port: int) -> None:
    texts = ["the room was good", "bad [SEP]", ""]
    status, found = post(port, json.dumps({"texts": texts}).encode())
    classifier = Classifier.load(exported / "onnx")

    assert status == 200
    assert [answer["label"] for answer in found["answers"]] == classifier.predict(texts)
    for answer, row in zip(found["answers"], classifier.predict_proba(texts), strict=True):
        assert list(answer["probabilities"]) == list(classifier.labels)
        assert list(answer["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
    assert post(port, b'{"texts": []}') == (200, {"answers": []})


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"", {}, 400, "Expecting value"),
        (b"[" * 100_000, {}, 400, ""),
        (b"[]", {}, 400, "expected texts, a list"),
        (b'{"texts": "good"}', {}, 400, "expected texts, a list"),
        (b'{"texts": [1]}', {}, 400, "row 0 holds no text"),
        (b'{"texts": [["a", "b"]]}', {}, 400, "row 0 is a pair"),
        (b'{"texts": ["\\ud800"]}', {}, 400, "half a surrogate pair"),
        (b'{"texts": ["\xff"]}', {}, 400, "utf-8"),
        (json.dumps({"texts": ["a"] * 257}).encode(), {}, 400, "at most 256"),
        (b"{}", {"Content-Length": "9" * 5000}, 413, "at most 1000000"),
        (b"{}", {"Content-Length": "-1"}, 413, "at most"),
        (b"{}", {"Content-Length": "2000000"}, 413, "at most"),
    ],
)
def test_what_it_cannot_answer_is_said_and_it_goes_on(
    port: int, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    found, reply = post(port, body, **headers)

    assert found == status
    assert says in reply["error"]
    assert post(port, b'{"texts": ["good"]}')[0] == 200


def test_a_client_that_leaves_is_no_matter(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

    assert post(port, b'{"texts": ["good"]}')[0] == 200
