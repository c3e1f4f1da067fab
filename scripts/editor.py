"""Opens every rule file in a YAML language server with our schemas, as an editor does; prints what it marks.

usage: scripts/editor.py RULES SERVER...      such as: scripts/editor.py rules yaml-language-server

The server (github.com/redhat-developer/yaml-language-server, which VS Code, Neovim and others use) is no
Debian package, so no test starts it; tests/rules/test_json_schema.py holds the same files against the same
schemas with jsonschema. Exit 1 when anything is marked.
"""

import json
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from netguard.rules.json_schema import schemas

PATIENCE = 60.0
# Which schema an editor is told to use for which files (rules/README.md).
FILES = {
    "netguard.json": "netguard.yaml", "sites.json": "sites.yaml", "protected.json": "protected.yaml",
    "groups.json": "groups.yaml", "presence.json": "presence.yaml", "alerts.json": "alerts.yaml",
    "feeds.json": "feeds.yaml", "tablets.json": "tablets.yaml", "tests.json": "tests/*.yaml",
    "vendor-feed.json": "services/feeds/*.yaml",
    "services.json": "services/{*,unverified/*}.yaml",
}  # fmt: skip


class Server:
    """A language server that speaks JSON-RPC over its standard input and output (LSP 3.17)."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(
            [*words, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, **message: object) -> None:
        """Send one message."""
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        length = 0
        for line in iter(self._process.stdout.readline, b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            elif not line.strip():
                self.said.put(json.loads(self._process.stdout.read(length)))

    def end(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()


def marked(server: Server, files: list[Path], settings: dict[str, Any]) -> dict[str, list[Any]]:
    """Open all files; return what the server marks in each."""
    found: dict[str, list[Any]] = {}
    server.send(
        id=1,
        method="initialize",
        params={
            "processId": None,
            "rootUri": None,
            "capabilities": {"workspace": {"configuration": True}},
        },
    )
    while len(found) < len(files):
        message = server.said.get(timeout=PATIENCE)
        method = message.get("method")
        if message.get("id") == 1 and "result" in message:
            server.send(method="initialized", params={})
            server.send(method="workspace/didChangeConfiguration", params={"settings": settings})
            for file in files:
                document = {
                    "uri": file.as_uri(), "languageId": "yaml", "version": 1, "text": file.read_text(),
                }  # fmt: skip
                server.send(method="textDocument/didOpen", params={"textDocument": document})
        elif method == "workspace/configuration":
            asked = [settings.get(each.get("section"), {}) for each in message["params"]["items"]]
            server.send(id=message["id"], result=asked)
        elif method == "textDocument/publishDiagnostics":
            found[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif "id" in message and method:
            server.send(id=message["id"], result=None)
    return found


def main(rules: Path, words: list[str]) -> int:
    """Print what is marked; 1 when anything is."""
    files = sorted(rules.resolve().rglob("*.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        uses = {}
        for name, body in schemas().items():
            file = Path(folder) / name
            file.write_text(json.dumps(body))
            uses[file.as_uri()] = f"{rules.resolve()}/{FILES[name]}"
        server = Server(words)
        try:
            settings = {
                "yaml": {"schemas": uses, "validate": True, "schemaStore": {"enable": False}}
            }
            found = marked(server, files, settings)
        finally:
            server.end()
    count = 0
    for uri, diagnostics in sorted(found.items()):
        for each in diagnostics:
            count += 1
            line = each["range"]["start"]["line"] + 1
            print(f"{uri.removeprefix('file://')}:{line}: {each['message'].splitlines()[0]}")
    print(f"{len(files)} files, {count} marked")
    return 1 if count else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
