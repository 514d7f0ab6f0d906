"""Where the broker is, and a connection to it."""

import os
import sys

import stomp


def connect(listener):
    """A connection whose messages and errors go to the listener."""
    host, port = os.environ.get("STOMP_TCP", "127.0.0.1:61613").split(":")
    connection = stomp.Connection12([(host, int(port))], heartbeats=(10_000, 10_000))
    connection.set_listener("", listener)
    connection.connect(wait=True)
    return connection


class Listener(stomp.ConnectionListener):
    """An ERROR says in one line what is wrong, and in its body what to change. The connection is closed after it."""

    def on_error(self, frame):
        print(f"{frame.headers['message']}\n{frame.body}", file=sys.stderr)
        os._exit(1)

    def on_disconnected(self):
        print("the broker has gone", file=sys.stderr)
        os._exit(1)
