// A work queue: each job goes to one worker, and a job that fails comes again.
//
//   node work-queue.mjs

import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const queue = `/queue/jobs-${process.pid}`;
const jobs = ['wash', 'dry', 'fold', 'iron', 'stack', 'carry'];

const done = new Set();
const workers = await Promise.all(['ann', 'ben'].map(startWorker));

const boss = await connect();
for (const job of jobs) {
  // A queue keeps jobs until somebody has done them, so it does not matter who was there first.
  boss.publish({ destination: queue, body: job });
}

async function startWorker(name) {
  const worker = await connect();
  // At most two jobs that are not yet acknowledged: whoever is quick gets more.
  worker.subscribe(queue, message => work(name, message), { ack: 'client-individual', 'prefetch-count': '2' });
  return worker;
}

function work(name, message) {
  const again = message.headers.redelivered === 'true';
  if (message.body === 'iron' && !again) {
    console.log(`${name} burnt a finger: iron goes back`);
    // It comes again after a moment, to whoever is free; after too many times it moves to the dead letters.
    message.nack();
    return;
  }
  console.log(`${name} did: ${message.body}${again ? ' (at last)' : ''}`);
  message.ack();
  done.add(message.body);
  if (done.size === jobs.length) {
    [boss, ...workers].forEach(client => client.deactivate());
  }
}

function connect() {
  return new Promise((resolve, reject) => {
    const client = new Client({ brokerURL: process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws' });
    client.onConnect = () => resolve(client);
    client.onStompError = frame => reject(new Error(`${frame.headers.message}: ${frame.body}`));
    client.activate();
  });
}
