// Topics: every subscriber gets every message that its pattern takes.
//
//   node topics.mjs

import { randomUUID } from 'node:crypto';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const client = new Client({ brokerURL: process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws' });

// `*` is one segment, `**` any number of them, `?` one character, `{name}` one segment with a name for the reader.
const patterns = ['/topic/prices/tea/eur', '/topic/prices/*/eur', '/topic/prices/**', '/topic/prices/{good}/us?'];
const destinations = ['/topic/prices/tea/eur', '/topic/prices/salt/usd', '/topic/prices/tea/eur/history'];

client.onConnect = async () => {
  for (const pattern of patterns) {
    client.subscribe(pattern, message => {
      console.log(`${pattern.padEnd(26)} got ${message.headers.destination}: ${message.body}`);
    });
  }
  for (const destination of destinations) {
    const matched = await publish(destination, '42');
    console.log(`${destination} reached ${matched} subscriptions`);
  }
  client.deactivate();
};

// The receipt comes when the message is routed. `matched` in it says how many subscriptions it reached.
function publish(destination, body) {
  return new Promise(resolve => {
    const receipt = randomUUID();
    client.watchForReceipt(receipt, frame => resolve(frame.headers.matched));
    client.publish({ destination, body, headers: { receipt } });
  });
}

client.onStompError = frame => {
  console.error(`${frame.headers.message}\n${frame.body}`);
  process.exit(1);
};

client.activate();
