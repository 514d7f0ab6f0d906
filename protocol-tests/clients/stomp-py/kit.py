"""What the features of `suite.py` share: connections, subscriptions that can be waited on, and the report."""

import contextlib
import logging
import os
import queue
import socket
import sys
import time
from urllib.parse import urlsplit

import stomp
from stomp.adapter.ws import WSStompConnection

version = os.environ.get("STOMP_VERSION", "1.2")
transport = os.environ.get("STOMP_TRANSPORT", "TCP")
websocket = urlsplit(os.environ.get("STOMP_URL", "ws://127.0.0.1:15674/ws"))
tcp = urlsplit("//" + os.environ.get("STOMP_TCP", "127.0.0.1:61613"))
login = (os.environ.get("STOMP_LOGIN"), os.environ.get("STOMP_PASSCODE"))

# How long anything may take before it is called missing. A working broker on a busy machine never takes this long.
PATIENCE = 20

# The library warns when a broker goes away, which some features ask for.
logging.getLogger("stomp.py").setLevel(logging.CRITICAL)

open_clients = []
run = f"{os.getpid()}-{time.time_ns()}"
count = 0


def number():
    """Another one each time."""
    global count
    count += 1
    return str(count)


def fresh(prefix):
    """A destination that nobody else uses."""
    return f"{prefix}/{run}-{number()}"


def take(waiting, what):
    """The next of what comes, but not for ever."""
    try:
        return waiting.get(timeout=PATIENCE)
    except queue.Empty:
        raise AssertionError(f"{what}: nothing after {PATIENCE} s") from None


class Client(stomp.ConnectionListener):
    """A connection, and all that it is told, sorted into queues."""

    def __init__(self, **options):
        self.messages = {}
        self.receipts = {}
        self.errors = queue.Queue()
        self.ends = queue.Queue()
        self.beats = queue.Queue()
        self.connects = queue.Queue()
        self.after_end = lambda: None
        self.connection = connection(options)
        self.connection.set_listener("suite", self)
        open_clients.append(self)

    def connect(self, **headers):
        """Connects, and answers with the CONNECTED frame."""
        user = {} if login[0] is None else {"username": login[0], "passcode": login[1]}
        self.connection.connect(**user, headers=headers)
        return take(self.connects, "CONNECTED")

    def receipt(self, act):
        """Does something that asks for a receipt, and waits for it."""
        receipt = f"receipt-{number()}"
        self.receipts[receipt] = queue.Queue()
        act(receipt)
        return take(self.receipts[receipt], f"RECEIPT {receipt}")

    def send(self, destination, body, **headers):
        """Sends, and waits until the broker has routed the message."""
        return self.receipt(lambda id: self.connection.send(destination, body, headers={**headers, "receipt": id}))

    def subscribe(self, destination, ack="auto", **headers):
        """A live subscription."""
        subscription = Subscription(self, destination)
        self.messages[subscription.id] = subscription.arrived
        self.receipt(
            lambda id: self.connection.subscribe(
                destination, id=subscription.id, ack=ack, headers={**headers, "receipt": id}
            )
        )
        return subscription

    def ack(self, message, **options):
        """Acknowledges a message, each version in its own way, and waits until that is done."""
        self.receipt(lambda id: self.connection.ack(*name_of(message), receipt=id, **options))

    def nack(self, message):
        self.receipt(lambda id: self.connection.nack(*name_of(message), receipt=id))

    def disconnect(self):
        """Ends it properly."""
        self.connection.disconnect()
        take(self.ends, "the end after DISCONNECT")

    def drop(self):
        """Lets the socket go, without a word.

        Over WebSocket the library closes a socket that a thread of its own still reads from, of which nobody hears.
        """
        if transport == "WebSocket" and self.connection.transport.socket is not None:
            with contextlib.suppress(OSError):
                self.connection.transport.socket.sock.shutdown(socket.SHUT_RDWR)
        self.connection.transport.disconnect_socket()

    def on_connected(self, frame):
        self.connects.put(frame)

    def on_message(self, frame):
        self.messages[frame.headers["subscription"]].put(frame)

    def on_receipt(self, frame):
        # The library makes up a receipt of its own for DISCONNECT.
        if frame.headers["receipt-id"] in self.receipts:
            self.receipts[frame.headers["receipt-id"]].put(frame)

    def on_error(self, frame):
        self.errors.put(frame)

    def on_heartbeat(self):
        self.beats.put(None)

    def on_disconnected(self):
        self.ends.put(None)
        self.after_end()


class Subscription:
    """Messages that can be waited for, one after the other."""

    def __init__(self, client, destination):
        self.client = client
        self.destination = destination
        self.id = f"subscription-{number()}"
        self.arrived = queue.Queue()

    def next(self):
        return take(self.arrived, f"MESSAGE on {self.destination}")

    def bodies(self, how_many):
        return [self.next().body for _ in range(how_many)]

    def unsubscribe(self):
        self.client.receipt(lambda id: self.client.connection.unsubscribe(id=self.id, headers={"receipt": id}))


def connection(options):
    """The library's connection for the version and transport that are asked for."""
    if transport == "WebSocket":
        where = [(websocket.hostname, websocket.port)]
        protocol = {"Sec-WebSocket-Protocol": "v12.stomp"}
        return WSStompConnection(where, ws_path=websocket.path, header=protocol, **options)
    kind = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}[version]
    # STOMP 1.1 wants a host, which this library gives by itself in 1.2 only.
    host = {"vhost": tcp.hostname} if version == "1.1" else {}
    return kind([(tcp.hostname, tcp.port)], **host, **options)


def connect(connect_headers={}, **options):
    """A connected client."""
    client = Client(**options)
    client.connect(**connect_headers)
    return client


def name_of(message):
    """What ACK and NACK of the library want to know of a message."""
    headers = message.headers
    names = {"1.0": ["message-id"], "1.1": ["message-id", "subscription"], "1.2": ["ack"]}
    return [headers[name] for name in names[version]]


def restart_broker():
    """Asks whoever runs this to stop the broker and start it again where it was."""
    print("@restart", flush=True)
    assert sys.stdin.readline(), "nobody restarts the broker"


def report(features):
    """Tries one feature after the other, says how each went, and ends the process."""
    failures = 0
    for name, (is_here, feature) in features.items():
        if not is_here:
            print(f"- {name}", flush=True)
            continue
        try:
            feature()
            print(f"ok {name}", flush=True)
        except Exception as error:  # Whatever it is, it is this feature's failure.
            failures += 1
            line = getattr(error.__traceback__.tb_next, "tb_lineno", "?")
            text = f"{type(error).__name__} {error}".replace("\n", " ")
            print(f"failed {name}: {text} (line {line})", flush=True)
        for client in open_clients:
            client.after_end = lambda: None
            client.drop()
        open_clients.clear()
    # Threads of the library may still wait for a socket that is gone.
    os._exit(0 if failures == 0 else 1)
