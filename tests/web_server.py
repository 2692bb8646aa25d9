"""A web server on this machine that can misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """Serves ``files``; ``faults`` are played one per request, the last one for ever if ``stuck``.

    A fault is a status ("404"), "cut" (half of what is asked for, then the connection breaks),
    "short" (half, as if that were all), "altered", "stall", "slow", "drip" and "drip-head" (a byte
    now and then, of the body or before it), "endless", "to" and an address (a redirect), or "ok".
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    stuck: bool = False
    knows_ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, Range)
    n_sent: int = 0  # bytes of an endless body
    stop: threading.Event = field(default_factory=threading.Event)

    def next_fault(self) -> str:
        if not self.faults:
            return "ok"
        return self.faults[0] if self.stuck and len(self.faults) == 1 else self.faults.pop(0)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server for as long as the block runs."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def _drip(self, body: bytes) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                for k in range(len(body)):
                    self.wfile.write(body[k : k + 1])
                    if state.stop.wait(0.05):
                        return

        def _endless(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                while state.n_sent < 1 << 28 and not state.stop.is_set():
                    state.n_sent += self.connection.send(bytes(1 << 16))

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.requests.append((self.path, asked))
            fault = state.next_fault()
            if fault == "slow":
                state.stop.wait(0.2)
            if fault.startswith("to "):
                self.send_response(302)
                self.send_header("Location", fault.removeprefix("to "))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "drip-head":
                self._drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 10_000)
                return
            name = self.path.rpartition("/")[2]
            if fault.isdigit() or name not in state.files:
                self.send_response(int(fault) if fault.isdigit() else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.files[name]
            start = 0
            if asked and state.knows_ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            if fault == "altered":
                body = body[:-1] + bytes([body[-1] ^ 1])
            body = body[start:]
            if fault == "short":
                body = body[: len(body) // 2]
            self.send_response(206 if start else 200)
            if fault == "endless":
                self.send_header("Connection", "close")
                self.end_headers()
                self._endless()
                return
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault == "drip":
                self._drip(body)
                return
            if fault == "stall":
                state.stop.wait(10)
                self.close_connection = True
            elif fault == "cut":
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.wfile.write(body)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.address = f"http://127.0.0.1:{httpd.server_address[1]}"
    yield state
    state.stop.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()
