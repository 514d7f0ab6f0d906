// The first message: subscribe to a topic, send to it, and hear yourself.
//
//   npm ci && node first-message.mjs

import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

// Browsers and Node.js 22 have WebSocket themselves.
globalThis.WebSocket ??= WebSocket;

const client = new Client({ brokerURL: process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws' });

client.onConnect = () => {
  client.subscribe('/topic/greetings', message => {
    console.log(`received: ${message.body}`);
    client.deactivate();
  });
  client.publish({ destination: '/topic/greetings', body: 'Hello from the gumboots!' });
};

// An ERROR says in one line what is wrong, and in its body what to change.
client.onStompError = frame => {
  console.error(`${frame.headers.message}\n${frame.body}`);
  process.exit(1);
};

client.activate();
