"""Answers requests: the length of what it is asked. Runs until it is stopped; examples/node/ask.mjs asks.

    python3 -m pip install -r requirements.txt
    python3 answer.py
"""

import threading

from broker import Listener, connect


class Questions(Listener):
    def on_message(self, frame):
        # The broker has written whose queue it is; whoever answers needs to know no more. `correlation-id` says to the
        # asker which of its questions this is.
        headers = {"correlation-id": frame.headers["correlation-id"]}
        self.connection.send(frame.headers["reply-to"], str(len(frame.body)), headers=headers)
        print(f"answered: {frame.body}", flush=True)


questions = Questions()
questions.connection = connect(questions)
# Several of these may run: each question goes to one of them.
questions.connection.subscribe("/queue/questions", id="questions")
print("waiting for questions", flush=True)
threading.Event().wait()
