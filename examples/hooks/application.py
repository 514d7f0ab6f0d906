#!/usr/bin/env python3
"""A chat that answers Gumboot's hooks. It needs Python 3.8 and nothing else.

    CHAT_SECRET=... python3 application.py [port]
"""

import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["CHAT_SECRET"].encode()
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8090
TOLERANCE = 300  # seconds
JSON = "application/json"
REPLIES = "application/vnd.gumboot.replies+json"

rooms = {}  # how often somebody said something, by room


def is_from_broker(headers, body):
    """Whether somebody who knows the secret signed this request, and did so just now."""
    items = [item.strip().partition("=") for item in headers.get("Gumboot-Signature", "").split(",")]
    seconds = next((value for name, _, value in items if name == "t"), "")
    if not (seconds.isascii() and seconds.isdigit()) or abs(time.time() - int(seconds)) > TOLERANCE:
        return False
    facts = sorted((name.lower(), value) for name, value in headers.items())
    facts = [
        f"{name}:{value}\n" for name, value in facts if name.startswith("gumboot-") and name != "gumboot-signature"
    ]
    signed = f"{seconds}\n{''.join(facts)}\n".encode("latin-1") + body
    expected = hmac.new(SECRET, signed, hashlib.sha256).hexdigest().encode()
    return any(name == "v1" and hmac.compare_digest(value.encode("latin-1"), expected) for name, _, value in items)


def answer(told):
    """What the chat does: a status, a content type, and what is said."""
    session = told["session"]
    name = session["user"] or session["id"]
    if told["event"] == "ask" and told["destination"] == "/app/rooms":
        return 200, JSON, rooms
    if told["event"] == "send" and "room" in told["captures"]:
        room = told["captures"]["room"]
        if told["encoding"] != "json" or not isinstance(told["body"], dict) or not told["body"].get("text"):
            return 422, JSON, {"message": "send a JSON object with a text"}
        rooms[room] = rooms.get(room, 0) + 1
        # One message to the room, which is /topic/chat/{room}, and one to the sender alone, at /user/queue/chat/{room}.
        return 200, REPLIES, {
            "replies": [
                {"body": {"from": name, "text": told["body"]["text"]}},
                {"to": "sender", "body": f"you are heard in {room}"},
            ],
            # The broker keeps it with the session, and tells it with everything that comes from there.
            "attributes": {"room": room},
        }
    if told["event"] == "disconnected" and "room" in session["attributes"]:
        room = session["attributes"]["room"]
        return 200, REPLIES, {"replies": [{"to": f"/topic/chat/{room}", "body": {"from": name, "left": True}}]}
    return 204, None, None


class Hook(BaseHTTPRequestHandler):
    # Connections stay open between requests, and an answer goes out in one piece.
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not is_from_broker(self.headers, body):
            return self.say(401, JSON, {"message": "this is not from the broker"})
        self.say(*answer(json.loads(body)))

    def say(self, status, kind, value):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Hook)
print(f"the chat listens on port {server.server_port}", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
