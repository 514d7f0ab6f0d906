"""Takes jobs from a queue, one at a time, and acknowledges each when it is done. Runs until it is stopped.

    python3 -m pip install -r requirements.txt
    python3 worker.py

Start it in several windows, and producer.py in another. Stop one in the midst of a job: another gets that job again.
"""

import queue
import time

from broker import Listener, connect


class Jobs(Listener):
    """Hands messages to the main thread: work in the thread that calls us would keep the library from reading on."""

    def __init__(self):
        self.waiting = queue.Queue()

    def on_message(self, frame):
        self.waiting.put(frame)


def main():
    jobs = Jobs()
    connection = connect(jobs)
    # One job at a time: what we do not have yet, others can take.
    connection.subscribe("/queue/jobs", id="jobs", ack="client-individual", headers={"prefetch-count": "1"})
    print("waiting for jobs", flush=True)
    while True:
        job = jobs.waiting.get()
        if work(job):
            # Both in one transaction: nobody hears of a job that comes again, and none is done without a word.
            transaction = connection.begin()
            connection.send("/topic/jobs/done", job.body, transaction=transaction)
            connection.ack(job.headers["ack"], transaction=transaction)
            connection.commit(transaction)
        else:
            # It comes again after a moment, perhaps to another worker; after too many times it becomes a dead letter.
            connection.nack(job.headers["ack"])


def work(job):
    """Whether it went well. Ironing goes wrong the first time."""
    again = job.headers.get("redelivered") == "true"
    time.sleep(0.1)
    if job.body.startswith("iron") and not again:
        print(f"burnt a finger: {job.body} goes back", flush=True)
        return False
    print(f"did: {job.body}{' (at last)' if again else ''}", flush=True)
    return True


main()
