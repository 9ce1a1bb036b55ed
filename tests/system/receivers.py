"""Receivers of a handover, in threads of the test: what examples/receiver.py shows, and one that says nothing as those did
that were written before there were acknowledgements."""

import importlib.util
import queue
import socket
import threading

from harness import SOURCE, slow
from servers import listening

spec = importlib.util.spec_from_file_location("example_receiver", SOURCE / "examples/receiver.py")
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)


class SilentChannel(example.Channel):
    """Of a receiver from before there were acknowledgements."""

    def announce(self):
        return False


class Receiver:
    """Takes connections in threads and queues them: (socket, attributes)."""

    kind = example.Channel

    def __init__(self, path):
        self.path = path
        self.taken = queue.Queue()
        self.channels = []
        self.listener = listening(path)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                channel, _ = self.listener.accept()
            except OSError:
                return
            self.channels.append(channel)
            threading.Thread(target=self._receive, args=(channel,), daemon=True).start()

    def _receive(self, sock):
        try:
            channel = self.kind(sock)
            while (taken := channel.receive()) is not None:
                self.taken.put(taken)
        except (OSError, ValueError) as problem:
            self.taken.put((None, repr(problem)))

    def next(self):
        client, attributes = self.taken.get(timeout=slow(10))
        assert client is not None, attributes
        return client, attributes

    def close(self):
        for sock in [self.listener, *self.channels]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


class SilentReceiver(Receiver):
    kind = SilentChannel
