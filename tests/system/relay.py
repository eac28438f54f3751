"""A peer that is slow, hangs, or hangs up: connections to a daemon that go by here, where they can be held or cut."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self

from apps.lab import Node
from apps.lab.wire import in_namespace


class Relay:
    """Carries connections from a socket that it listens on to a target, until its with statement ends.

    delay is how late what the target says comes, in seconds, held how many connections have been made.
    """

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self.delay = 0.0
        self.connections = 0
        self._listener = listener
        self._connect = connect
        self._flowing = Event()
        self._flowing.set()
        self._lock = Lock()
        self._open: list[socket.socket] = []
        self._rest: int | None = None

    @classmethod
    def tcp(cls, node: Node, port: int, target: int) -> Self:
        """From one TCP port of 127.0.0.1 of a machine to another."""

        def listen() -> socket.socket:
            return socket.create_server(("127.0.0.1", port))

        def connect() -> socket.socket:
            return in_namespace(node.path, lambda: socket.create_connection(("127.0.0.1", target)))

        return cls(in_namespace(node.path, listen), connect)

    @classmethod
    def unix(cls, path: Path, target: Path) -> Self:
        """From one Unix socket to another."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def connect() -> socket.socket:
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(str(target))
            return stream

        return cls(listener, connect)

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.release()
        self.cut()

    def hold(self) -> None:
        """Stop reading from either side, and keep the connections; new ones wait."""
        self._flowing.clear()

    def release(self) -> None:
        """Go on, with all that has come meanwhile."""
        self._flowing.set()

    def cut(self) -> None:
        """Hang up on both sides."""
        with self._lock:
            ended, self._open = self._open, []
        for each in ended:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # The other side was faster.

    def cut_after(self, size: int) -> None:
        """Hang up when the target has said this many bytes more."""
        self._rest = size

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._flowing.wait()
            try:
                server = self._connect()
            except OSError:
                client.close()  # The target is away.
                continue
            self.connections += 1
            with self._lock:
                self._open += [client, server]
            Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Carry both ways until either side ends it; what was opened is closed."""
        answers = Thread(target=self._carry, args=(server, client, True), daemon=True)
        answers.start()
        self._carry(client, server, False)
        answers.join()
        with self._lock:
            self._open = [each for each in self._open if each not in (client, server)]
        client.close()
        server.close()

    def _carry(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                self._flowing.wait()
                if answers:
                    time.sleep(self.delay)
                    data = self._shorten(data)
                sink.sendall(data)
                if self._rest == 0:
                    self._rest = None
                    self.cut()
        except OSError:
            pass  # Cut.
        for end, way in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            try:
                end.shutdown(way)
            except OSError:
                pass

    def _shorten(self, data: bytes) -> bytes:
        if self._rest is not None:
            data = data[: self._rest]
            self._rest -= len(data)
        return data
