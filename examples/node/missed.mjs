// A durable subscription: a client goes away, and gets what it missed when it comes back.
//
//   node missed.mjs

import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const topic = `/topic/prices-${process.pid}`;
// Whoever says this subscription's id and topic means the same one, also from another connection or after a restart.
const durable = { id: 'shop-window', durable: 'true', 'auto-delete': 'false', ack: 'client-individual' };

const shop = await connect();
let window = await connect();
await subscribed(window);
await window.deactivate();
console.log('the window is closed');

for (const price of ['tea 3.20', 'milk 1.10']) {
  // With persistent:true and a receipt it is on disk when the broker says so, and the broker may be restarted here.
  await published({ destination: topic, body: price, headers: { persistent: 'true' } });
}

window = await connect();
console.log('the window is open again');
const missed = await subscribed(window, 2);
// Without durable:true it would only go away again.
await new Promise(resolve => {
  window.watchForReceipt('gone', resolve);
  missed.unsubscribe({ durable: 'true', receipt: 'gone' });
});
[shop, window].forEach(client => client.deactivate());

// Resolves when the subscription is there and has brought so many messages.
function subscribed(client, messages = 0) {
  return new Promise(resolve => {
    const done = () => messages === 0 && resolve(subscription);
    const subscription = client.subscribe(topic, message => {
      console.log(`in the window: ${message.body}`);
      message.ack();
      messages -= 1;
      done();
    }, { ...durable, receipt: 'subscribed' });
    client.watchForReceipt('subscribed', done);
  });
}

function published(message) {
  return new Promise(resolve => {
    shop.watchForReceipt(message.body, resolve);
    shop.publish({ ...message, headers: { ...message.headers, receipt: message.body } });
  });
}

function connect() {
  return new Promise((resolve, reject) => {
    const client = new Client({ brokerURL: process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws' });
    client.onConnect = () => resolve(client);
    client.onStompError = frame => reject(new Error(`${frame.headers.message}: ${frame.body}`));
    client.activate();
  });
}
