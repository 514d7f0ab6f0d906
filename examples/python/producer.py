"""Gives jobs to the workers and waits until all are done.

    python3 producer.py
"""

import queue
import uuid

from broker import Listener, connect


class Reports(Listener):
    def __init__(self):
        self.done = queue.Queue()
        self.taken = queue.Queue()

    def on_message(self, frame):
        self.done.put(frame.body)

    def on_receipt(self, frame):
        self.taken.put(frame.headers["receipt-id"])

    def on_disconnected(self):
        """We ask for it."""


def main():
    reports = Reports()
    connection = connect(reports)
    connection.subscribe("/topic/jobs/done", id="reports")

    jobs = {f"{job} {uuid.uuid4().hex[:4]}" for job in ["wash", "dry", "fold", "iron", "stack", "carry"] * 2}
    for job in jobs:
        # The receipt comes when the queue has the job: from then on it is in the broker's hands.
        connection.send("/queue/jobs", job, content_type="text/plain", receipt=job)
    for _ in jobs:
        reports.taken.get()
    print(f"{len(jobs)} jobs are in the queue; worker.py in other windows does them", flush=True)

    while jobs:
        job = reports.done.get()
        if job in jobs:
            jobs.remove(job)
            print(f"done: {job}", flush=True)
    connection.disconnect()


main()
