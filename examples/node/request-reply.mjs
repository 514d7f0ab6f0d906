// Requests and replies: one side asks, the other answers, over the same broker. The broker must be told who may answer:
//
//   cargo run --release -- --config examples/node/request-reply.toml
//   node request-reply.mjs

import { randomUUID } from 'node:crypto';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const brokerURL = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const prices = { tea: 4.2, salt: 0.8 };

// The shop: a worker for two application destinations, subscribed to by the names that the configuration gives them.
const shop = new Client({ brokerURL, connectHeaders: { login: 'shop', passcode: 'secret' }, onStompError });
shop.onConnect = async () => {
  await subscribed(shop, '/app/prices/{good}', question => {
    const good = question.headers.destination.split('/').pop();
    const { 'reply-to': destination } = question.headers;
    // A header `app-error` makes it a failure, which the one who asked gets as such.
    const headers = good in prices ? {} : { 'app-error': `there is no ${good}` };
    shop.publish({ destination, headers, body: String(prices[good] ?? '') });
  });
  // These are acknowledged: what a worker does not get done, another one gets.
  await subscribed(shop, '/app/orders', order => {
    shop.publish({ destination: order.headers['reply-to'], body: `${order.body} is on its way` });
    order.ack();
  }, { ack: 'client-individual' });
  customer.activate();
};

const customer = new Client({ brokerURL, connectHeaders: { 'on-error': 'continue' } });
customer.onConnect = async () => {
  // A SUBSCRIBE to an application destination asks it, once.
  customer.subscribe('/app/prices/tea', answer => console.log(`tea costs ${answer.body}`));
  // The replies to what is sent come to the sender's own destination of the same name.
  await subscribed(customer, '/user/queue/orders', answer => {
    console.log(answer.body);
    // What cannot be answered is an ERROR, which this session survives.
    customer.onStompError = frame => {
      console.log(`${frame.headers.code}: ${frame.body.split('\n')[0]}`);
      customer.deactivate();
      shop.deactivate();
    };
    customer.subscribe('/app/prices/gold', () => {});
  });
  customer.publish({ destination: '/app/orders', body: 'a pound of tea' });
};

/** Subscribes, and waits until the broker says that the subscription is in force. */
function subscribed(client, destination, callback, headers = {}) {
  return new Promise(resolve => {
    const receipt = randomUUID();
    client.watchForReceipt(receipt, resolve);
    client.subscribe(destination, callback, { ...headers, receipt });
  });
}

function onStompError(frame) {
  console.error(`${frame.headers.message}\n${frame.body}`);
  process.exit(1);
}

customer.onStompError = onStompError;
shop.activate();
