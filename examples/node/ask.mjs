// Requests and answers over queues: examples/python/answer.py answers, and so may any program in any language.
//
//   node ask.mjs "How long is this?"

import { randomUUID } from 'node:crypto';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const client = new Client({ brokerURL: process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws' });
const waiting = new Map();
const questions = process.argv.slice(2);
if (questions.length === 0) questions.push('How long is this?', 'And this?', 'żółw');

client.onConnect = async () => {
  // A queue of our own: other clients mean other queues by the same name, and it is gone when we are.
  client.subscribe('/temp-queue/answers', message => {
    waiting.get(message.headers['correlation-id'])?.(message.body);
  });
  const answers = await Promise.all(questions.map(ask));
  questions.forEach((question, index) => console.log(`${question} ${answers[index]} characters`));
  client.deactivate();
};

function ask(question) {
  return new Promise(resolve => {
    const id = randomUUID();
    waiting.set(id, resolve);
    const headers = { 'reply-to': '/temp-queue/answers', 'correlation-id': id };
    client.publish({ destination: '/queue/questions', body: question, headers });
  });
}

client.onStompError = frame => {
  console.error(`${frame.headers.message}\n${frame.body}`);
  process.exit(1);
};

client.activate();
