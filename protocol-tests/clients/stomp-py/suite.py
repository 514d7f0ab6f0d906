"""What a program does with stomp.py, feature by feature, against the broker at STOMP_TCP or STOMP_URL.

Speaks to whoever started it: a line `ok`, `failed` or `-` (not in this version, or not with this transport) for each
feature on stdout; `@restart` asks for a restart of the broker, and a line on stdin tells that it is there again.
"""

import kit

MEBIBYTE = "0123456789abcdef" * 65536
LATER = kit.version != "1.0"


def connect():
    client = kit.Client()
    headers = client.connect().headers
    assert headers["version"] == kit.version, headers
    if LATER:
        assert headers["server"], headers


def send_and_subscribe():
    destination = kit.fresh("/topic")
    publisher, reader, other = kit.connect(), kit.connect(), kit.connect()
    subscriptions = [reader.subscribe(destination), other.subscribe(destination)]
    for number in range(100):
        publisher.connection.send(destination, str(number), content_type="text/plain", headers={"number": number})
    for subscription in subscriptions:
        for number in range(100):
            message = subscription.next()
            assert message.body == str(number), message
            assert message.headers["number"] == str(number), message
            assert message.headers["destination"] == destination, message
            assert message.headers["content-type"] == "text/plain", message


def unsubscribe():
    destination = kit.fresh("/topic")
    client = kit.connect()
    ended, live = client.subscribe(destination), client.subscribe(destination)
    ended.unsubscribe()
    client.send(destination, "one")
    assert live.next().body == "one"
    assert ended.arrived.empty()


def patterns():
    base = kit.fresh("/topic")
    client = kit.connect()
    star, deep = client.subscribe(f"{base}/*/price"), client.subscribe(f"{base}/**")
    client.send(f"{base}/tea/price", "3")
    client.send(f"{base}/tea/stock/north", "9")
    assert star.next().headers["destination"] == f"{base}/tea/price"
    assert deep.bodies(2) == ["3", "9"]
    assert star.arrived.empty()


def receipts():
    client = kit.connect()
    client.send(kit.fresh("/topic"), "nobody hears it")
    client.subscribe(kit.fresh("/topic")).unsubscribe()


def heart_beats():
    client = kit.connect(heartbeats=(300, 300))
    for _ in range(8):
        kit.take(client.beats, "heart-beat")
    assert client.connection.is_connected()
    client.send(kit.fresh("/topic"), "still here")


def three_in_a_queue(ack):
    """A queue with three messages, all of them given to one reader that has settled none."""
    destination = kit.fresh("/queue")
    client, reader = kit.connect(), kit.connect()
    for body in ["one", "two", "three"]:
        client.send(destination, body)
    subscription = reader.subscribe(destination, ack=ack)
    return client, reader, destination, [subscription.next() for _ in range(3)]


def ack_individual():
    client, reader, destination, messages = three_in_a_queue("client-individual")
    reader.ack(messages[1])
    reader.disconnect()
    assert client.subscribe(destination).bodies(2) == ["one", "three"]


def ack_cumulative():
    client, reader, destination, messages = three_in_a_queue("client")
    reader.ack(messages[1])
    reader.disconnect()
    left = client.subscribe(destination).next()
    assert left.body == "three", left
    assert left.headers["redelivered"] == "true", left


def ack_lost():
    client, reader, destination, _ = three_in_a_queue("client-individual")
    reader.drop()
    again = client.subscribe(destination).next()
    assert again.body == "one", again
    assert again.headers["redelivered"] == "true", again


def ack_in_a_transaction():
    client, reader, destination, messages = three_in_a_queue("client-individual")
    given = reader.connection.begin()
    reader.ack(messages[0], transaction=given)
    reader.connection.abort(given)
    kept = reader.connection.begin()
    reader.ack(messages[1], transaction=kept)
    reader.receipt(lambda id: reader.connection.commit(kept, receipt=id))
    reader.disconnect()
    assert client.subscribe(destination).bodies(2) == ["one", "three"]


def nack():
    destination = kit.fresh("/queue")
    client = kit.connect()
    subscription = client.subscribe(destination, ack="client-individual")
    client.send(destination, "one")
    client.nack(subscription.next())
    again = subscription.next()
    assert again.body == "one", again
    assert again.headers["redelivered"] == "true", again
    client.ack(again)


def prefetch():
    destination = kit.fresh("/queue")
    slow, quick = kit.connect(), kit.connect()
    held = slow.subscribe(destination, ack="client-individual", **{"prefetch-count": "1"})
    quick.send(destination, "one")
    first = held.next()
    free = quick.subscribe(destination)
    quick.send(destination, "two")
    quick.send(destination, "three")
    assert free.bodies(2) == ["two", "three"]
    assert held.arrived.empty()
    slow.ack(first)


def transactions():
    destination = kit.fresh("/queue")
    client = kit.connect()
    subscription = client.subscribe(destination)
    given = client.connection.begin()
    client.connection.send(destination, "given up", transaction=given)
    client.connection.abort(given)
    kept = client.connection.begin()
    for body in ["one", "two"]:
        client.connection.send(destination, body, transaction=kept)
    client.send(destination, "outside")
    client.connection.commit(kept)
    assert subscription.bodies(3) == ["outside", "one", "two"]


def large_message():
    destination = kit.fresh("/topic")
    client = kit.connect()
    subscription = client.subscribe(destination)
    client.send(destination, MEBIBYTE)
    assert subscription.next().body == MEBIBYTE


def binary_body():
    destination = kit.fresh("/topic")
    options = {"binary_mode": True} if kit.transport == "WebSocket" else {}
    client = kit.connect(auto_decode=False, **options)
    subscription = client.subscribe(destination)
    body = bytes(range(256)) * 4
    client.send(destination, body, **{"content-type": "application/octet-stream"})
    assert subscription.next().body == body


def unicode():
    destination = kit.fresh("/topic") + "-żółw"
    client = kit.connect()
    subscription = client.subscribe(destination)
    client.send(destination, "Grüße, 世界 👢", note="sălut 👢")
    message = subscription.next()
    assert message.body == "Grüße, 世界 👢", message
    assert message.headers["note"] == "sălut 👢", message
    assert message.headers["destination"] == destination, message


def header_escapes():
    destination = kit.fresh("/topic")
    client = kit.connect()
    subscription = client.subscribe(destination)
    note = "colon : backslash \\ line\n" + ("return\r" if kit.version == "1.2" else "") + "end"
    client.send(destination, "", note=note)
    assert subscription.next().headers["note"] == note


def error_and_close():
    client = kit.connect()
    client.connection.send("/nowhere/at-all", "lost", receipt="why")
    error = kit.take(client.errors, "ERROR")
    assert error.headers["code"] == "unknown-destination", error
    assert error.headers["receipt-id"] == "why", error
    assert error.headers["message"], error
    assert error.body, error
    kit.take(client.ends, "the end after ERROR")


def on_error_continue():
    client = kit.connect({"on-error": "continue"})
    client.connection.subscribe("/nowhere/at-all", id="nowhere")
    assert kit.take(client.errors, "ERROR").headers["code"] == "unknown-destination"
    client.send(kit.fresh("/topic"), "still here")


def own_messages():
    destination = kit.fresh("/topic")
    client, other = kit.connect(), kit.connect()
    local = client.subscribe(destination, **{"no-local": "true"})
    both = client.subscribe(destination)
    client.send(destination, "to others", **{"exclude-self": "true"})
    client.send(destination, "to all")
    assert both.next().body == "to all"
    other.send(destination, "from elsewhere")
    assert local.next().body == "from elsewhere"


def mandatory_and_matched():
    destination = kit.fresh("/topic")
    client = kit.connect({"on-error": "continue"})
    assert client.send(destination, "a").headers["matched"] == "0"
    client.subscribe(destination)
    assert client.send(destination, "b").headers["matched"] == "1"
    client.connection.send(kit.fresh("/topic"), "c", mandatory="true", receipt="m")
    error = kit.take(client.errors, "ERROR")
    assert error.headers["code"] == "unroutable", error
    assert error.headers["receipt-id"] == "m", error


def disconnect():
    client = kit.connect()
    client.disconnect()
    assert not client.connection.is_connected()
    assert client.errors.empty()


def reconnect():
    destination = kit.fresh("/topic")
    client = kit.Client(reconnect_attempts_max=-1)
    client.connect()
    # The library's own way: whoever is told of the end connects again, and the library tries until it can.
    client.after_end = client.connection.connect
    kit.restart_broker()
    kit.take(client.connects, "the second CONNECTED")
    subscription = client.subscribe(destination)
    client.send(destination, "after the restart")
    assert subscription.next().body == "after the restart"


kit.report(
    {
        "connect": (True, connect),
        "send, subscribe": (True, send_and_subscribe),
        "unsubscribe": (True, unsubscribe),
        "patterns": (True, patterns),
        "receipts": (True, receipts),
        "heart-beats": (LATER, heart_beats),
        "ack individual": (True, ack_individual),
        "ack cumulative": (True, ack_cumulative),
        "ack lost": (True, ack_lost),
        "nack": (LATER, nack),
        "prefetch": (True, prefetch),
        "commit, abort": (True, transactions),
        "ack in a transaction": (True, ack_in_a_transaction),
        "large message": (True, large_message),
        # The library does not split what it sends.
        "split frames": (False, None),
        "binary body": (True, binary_body),
        "unicode": (True, unicode),
        "header escapes": (LATER, header_escapes),
        "error, close": (True, error_and_close),
        "on-error:continue": (True, on_error_continue),
        "exclude-self, no-local": (True, own_messages),
        "mandatory, matched": (True, mandatory_and_matched),
        "disconnect": (True, disconnect),
        "reconnect": (True, reconnect),
    }
)
