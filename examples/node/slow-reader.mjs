// What `keep-latest` does: a reader that stops for a while misses prices, but has the last one of each symbol in the end.
//
//   gumboot --config examples/browser/ticker/ticker.toml
//   node slow-reader.mjs

import { randomUUID } from 'node:crypto';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const brokerURL = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const symbols = ['TEA', 'SALT', 'COAL'].map(symbol => `/topic/prices/${symbol}-${process.pid}`);
const rounds = 5_000;
// Not compressed, and as long as a real price list, so that the broker and the system have no room for all of them.
const padding = ' '.repeat(4_096);

const socket = new WebSocket(brokerURL, ['v12.stomp'], { perMessageDeflate: false });
const reader = await connect({ webSocketFactory: () => socket });
const last = new Map();
let received = 0;
for (const symbol of symbols) {
  reader.subscribe(symbol, message => {
    received += 1;
    last.set(symbol, Number(message.body));
    if (symbols.every(each => last.get(each) === rounds)) finish();
  });
}
await receipt(reader, '/topic/prices/none');

// From here on the reader takes nothing from the network.
socket.pause();
const writer = await connect({ brokerURL });
for (let round = 1; round <= rounds; round += 1) {
  symbols.forEach(destination => writer.publish({ destination, body: `${round}${padding}` }));
  // Now and then the writer waits for the broker, or it would only fill its own memory.
  if (round % 100 === 0) await receipt(writer, '/topic/prices/none');
}
console.log(`sent ${rounds * symbols.length} prices to a reader that took none`);
socket.resume();

function finish() {
  console.log(`the reader got ${received} of them, and has the last price of each symbol`);
  if (received === rounds * symbols.length) {
    console.error('It missed none: the broker does not know examples/browser/ticker/ticker.toml, or had room for all.');
    process.exitCode = 1;
  }
  reader.deactivate();
  writer.deactivate();
}

function connect(options) {
  return new Promise((resolve, reject) => {
    const client = new Client({ ...options, reconnectDelay: 0 });
    client.onConnect = () => resolve(client);
    client.onStompError = frame => {
      console.error(`${frame.headers.message}\n${frame.body}`);
      process.exit(1);
    };
    client.onWebSocketError = reject;
    client.activate();
  });
}

/** Waits until the broker has done all that it was told before. */
function receipt(client, destination) {
  return new Promise(resolve => {
    const id = randomUUID();
    client.watchForReceipt(id, resolve);
    client.publish({ destination, body: '', headers: { receipt: id } });
  });
}
