"""An editor, as far as the tests of the language server need one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dlir.frontends.lsp.document import Document

ROOT = Path(__file__).resolve().parent.parent.parent

#: Texts that are right.
FILES = sorted([*(ROOT / "examples").glob("*.dlir"), *(ROOT / "tests" / "golden").glob("*.dlir")])
FILES = [
    path for path in FILES if not any(word in path.read_text() for word in ("expected-error", "// -----", "RUN: not"))
]

#: A module with a variable, two functions, a block and a kernel.
PROGRAM = """\
// A small network.
module @net {
  // The weights of the only layer.
  state.variable @w {init = dense<0.0> : tensor<4x3xf32>}
  func.func @main(%x: tensor<2x4xf32>) -> tensor<2x3xf32> {
    %w = state.read @w
    %h = nn.dense %x, %w {activation = "relu"}
    %y = func.call @scale %h : tensor<2x3xf32>
    return %y
  }
  func.func private @scale(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
    %two = nd.constant {value = dense<2.0> : tensor<2x3xf32>}
    %s = nd.mul %x, %two
    "cf.br"()[^done] : () -> ()
  ^done:
    return %s
  }
}
"""


def with_cursor(text: str, marker: str = "¦") -> tuple[Document, int]:
    """The document, and the offset of the marker that shows where the cursor is."""
    offset = text.index(marker)
    return Document(text.replace(marker, "", 1)), offset


class Editor:
    """Talks to ``dlir-lsp`` over its standard input and output."""

    def __init__(self, **capabilities: Any) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT / ".src")}
        command = [sys.executable, "-m", "dlir.frontends.lsp.server", "--stdio"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        self.number = 0
        #: Notifications of the server that nobody has asked for yet.
        self.notifications: list[dict[str, Any]] = []
        self.server = self.request("initialize", processId=None, rootUri=None, capabilities=capabilities)
        self.notify("initialized")

    def request(self, method: str, **params: Any) -> Any:
        """The answer to a request; its error, if it is one."""
        self.number += 1
        self._send({"id": self.number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self.number and "method" not in message:
                return message["result"] if "result" in message else message["error"]
            self.notifications.append(message)

    def notify(self, method: str, **params: Any) -> None:
        """Tell the server something."""
        self._send({"method": method, "params": params})

    def diagnostics(self, uri: str) -> list[dict[str, Any]]:
        """The next diagnostics that the server publishes for a text."""
        while True:
            for index, message in enumerate(self.notifications):
                if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                    del self.notifications[index]
                    return message["params"]["diagnostics"]
            self.notifications.append(self._receive())

    def open(self, uri: str, text: str) -> list[dict[str, Any]]:
        """Open a text; returns its diagnostics."""
        self.notify("textDocument/didOpen", textDocument={"uri": uri, "languageId": "dlir", "version": 1, "text": text})
        return self.diagnostics(uri)

    def change(self, uri: str, version: int, text: str) -> None:
        """Replace the text."""
        self.notify(
            "textDocument/didChange", textDocument={"uri": uri, "version": version}, contentChanges=[{"text": text}]
        )

    def ask(self, method: str, uri: str, line: int, character: int, **params: Any) -> Any:
        """A request about a place in a text."""
        position = {"line": line, "character": character}
        return self.request(f"textDocument/{method}", textDocument={"uri": uri}, position=position, **params)

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        length = 0
        while (line := self.process.stdout.readline().strip()) or not length:
            if not line:
                raise EOFError(self.process.stderr.read().decode())
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(self.process.stdout.read(length))

    def close(self) -> tuple[int, str]:
        """Shut the server down; its exit code and what it wrote to stderr."""
        self.request("shutdown")
        self.notify("exit")
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors.decode()
