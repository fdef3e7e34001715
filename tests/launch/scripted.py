"""A server that answers as a script says, and remembers what it was asked; and a clock that runs by being waited on."""

from __future__ import annotations

import http.server
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OK = (
    b'<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><regionInfo/></DescribeRegionsResponse>'
)


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = OK
    headers: dict[str, str] = field(default_factory=dict)


def refused(code: str, message: str = "no") -> bytes:
    """An error as EC2 words it."""
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        "<RequestID>r</RequestID></Response>"
    ).encode()


class Clock:
    """Seconds that pass by sleeping. `on_tick` is told of each."""

    def __init__(self) -> None:
        self.at = 0.0
        self.on_tick: Callable[[float], None] = lambda _: None

    def now(self) -> float:
        """What the clock shows."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds
        self.on_tick(self.at)


class Scripted:
    """The server. `script` makes the answer to a request, whose parameters it is given.

    With `later` the address is taken, and connections are refused until `listen` is called.
    """

    def __init__(self, script: Callable[[dict[str, str]], Answer], *, later: bool = False) -> None:
        self.asked: list[dict[str, str]] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = urllib.parse.parse_qsl(self.rfile.read(length).decode())
                asked.append(dict(body))
                answer = script(dict(body))
                self.send_response_only(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.server_bind()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if not later:
            self.listen()

    def listen(self) -> None:
        """Take connections from now on."""
        if not self._thread.is_alive():
            self._server.server_activate()
            self._thread.start()

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
