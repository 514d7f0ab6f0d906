// The two older clients for browsers, named in CLIENT: `stompjs` 2.3.3 and `webstomp-client`, which took over its interface.
//
// The version of `webstomp-client` is that of the sub-protocol. It offers all three, 1.0 first, and so gets 1.0 from a broker
// that takes the first; a program that wants more says so.
//
// Neither escapes headers or reads bodies as bytes. Neither connects again by itself either, so a program does.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { WebSocket } from 'ws';
import { fresh, mailbox, number, report, restartBroker, within } from './report.mjs';

const require = createRequire(import.meta.url);
const url = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const name = process.env.CLIENT ?? 'stompjs';
const login = { login: process.env.STOMP_LOGIN ?? 'guest', passcode: process.env.STOMP_PASSCODE ?? 'guest' };
const version = process.env.STOMP_VERSION ?? '1.1';
const later = feature => (version === '1.0' ? null : feature);
const big = '0123456789abcdef'.repeat(65_536);
const open = new Set();

/** What they do differently: the start, and the order of what `send` takes. */
const client = {
  stompjs: {
    start(options) {
      // What its `Stomp.client` does with the WebSocket of a browser.
      const made = require('stompjs').over(new WebSocket(url, ['v10.stomp', 'v11.stomp']));
      return Object.assign(made, { debug: null }, options);
    },
    send: (made, destination, body, headers) => made.send(destination, headers, body),
  },
  'webstomp-client': {
    start(options) {
      const webstomp = require('webstomp-client');
      const all = webstomp.VERSIONS.supportedProtocols();
      const socket = new WebSocket(url, version === '1.0' ? all : all.slice(-1));
      return webstomp.over(socket, { debug: false, ...options });
    },
    send: (made, destination, body, headers) => made.send(destination, body, headers),
  },
}[name];

const failures = await report(
  {
    connect: async () => assert.equal((await connect()).frame.headers.version, version),
    'send, subscribe': sendAndSubscribe,
    unsubscribe,
    patterns,
    receipts: async () => send((await connect()).made, fresh('/topic'), 'nobody hears it'),
    'heart-beats': later(heartBeats),
    'ack individual': () => acknowledge('client-individual', ['one', 'three']),
    'ack cumulative': () => acknowledge('client', ['three']),
    'ack lost': ackLost,
    nack: later(nack),
    'commit, abort': transactions,
    'large message': () => bounce(big, { maxWebSocketFrameSize: Infinity }),
    'split frames': () => bounce(big, {}),
    'binary body': null,
    unicode: () => bounce('Grüße, 世界 👢', {}),
    'header escapes': null,
    'error, close': errorAndClose,
    disconnect,
    reconnect,
  },
  { isThere: feature => feature !== null, clear: () => open.forEach(made => made.ws.close()) },
);
process.exit(failures === 0 ? 0 : 1);

/** A connected client, its CONNECTED, and all that its error callback is told. */
async function connect({ maxWebSocketFrameSize, ...options } = {}) {
  const made = client.start({ heartbeat: { outgoing: 0, incoming: 0 }, ...options });
  if (maxWebSocketFrameSize) Object.assign(made, { maxWebSocketFrameSize });
  open.add(made);
  const errors = mailbox('the error callback');
  const receipts = new Map();
  made.receipts = receipts;
  made.onreceipt = frame => receipts.get(frame.headers['receipt-id'])?.(frame);
  const frame = await within(new Promise(resolve => made.connect({ ...login }, resolve, errors.take)), 'CONNECTED');
  return { made, frame, errors };
}

function receipt(made, act) {
  const id = `receipt-${number()}`;
  const received = new Promise(resolve => made.receipts.set(id, resolve));
  act(id);
  return within(received, `RECEIPT ${id}`);
}

function send(made, destination, body, headers = {}) {
  return receipt(made, id => client.send(made, destination, body, { ...headers, receipt: id }));
}

async function subscribe(made, destination, headers = {}) {
  const { take, next, arrived } = mailbox(`MESSAGE on ${destination}`);
  let subscription;
  await receipt(made, id => {
    subscription = made.subscribe(destination, take, { ...headers, receipt: id });
  });
  return { next, arrived, subscription };
}

async function sendAndSubscribe() {
  const destination = fresh('/topic');
  const [{ made: publisher }, { made: reader }] = await Promise.all([connect(), connect()]);
  const subscription = await subscribe(reader, destination);
  for (let count = 0; count < 100; count += 1) {
    client.send(publisher, destination, `${count}`, { number: `${count}` });
  }
  for (let count = 0; count < 100; count += 1) {
    const { body, headers } = await subscription.next();
    assert.equal(body, `${count}`);
    assert.equal(headers.number, `${count}`);
  }
}

async function unsubscribe() {
  const destination = fresh('/topic');
  const { made } = await connect();
  const [ended, live] = [await subscribe(made, destination), await subscribe(made, destination)];
  ended.subscription.unsubscribe();
  await send(made, destination, 'one');
  assert.equal((await live.next()).body, 'one');
  assert.equal(ended.arrived.length, 0);
}

async function patterns() {
  const base = fresh('/topic');
  const { made } = await connect();
  const star = await subscribe(made, `${base}/*/price`);
  const deep = await subscribe(made, `${base}/**`);
  await send(made, `${base}/tea/price`, '3');
  await send(made, `${base}/tea/stock/north`, '9');
  assert.equal((await star.next()).headers.destination, `${base}/tea/price`);
  assert.deepEqual([(await deep.next()).body, (await deep.next()).body], ['3', '9']);
  assert.equal(star.arrived.length, 0);
}

async function heartBeats() {
  const { made } = await connect({ heartbeat: { outgoing: 300, incoming: 300 } });
  const beats = mailbox('heart-beat');
  made.ws.on('message', data => data.toString() === '\n' && beats.take());
  for (let count = 0; count < 8; count += 1) await beats.next();
  await send(made, fresh('/topic'), 'still here');
}

async function acknowledge(ack, left) {
  const destination = fresh('/queue');
  const [{ made }, { made: reader }] = await Promise.all([connect(), connect()]);
  for (const body of ['one', 'two', 'three']) await send(made, destination, body);
  const held = await subscribe(reader, destination, { ack });
  const messages = [await held.next(), await held.next(), await held.next()];
  await receipt(reader, id => settle(messages[1], 'ack', { receipt: id }));
  reader.disconnect();
  const rest = await subscribe(made, destination);
  for (const body of left) assert.equal((await rest.next()).body, body);
}

async function ackLost() {
  const destination = fresh('/queue');
  const [{ made }, { made: reader }] = await Promise.all([connect(), connect()]);
  await send(made, destination, 'one');
  await (await subscribe(reader, destination, { ack: 'client-individual' })).next();
  reader.ws.terminate();
  const again = await subscribe(made, destination);
  assert.equal((await again.next()).headers.redelivered, 'true');
}

/** A message's own `ack` and `nack`, with headers. */
function settle(message, how, headers) {
  message[how](headers);
}

async function nack() {
  const destination = fresh('/queue');
  const { made } = await connect();
  const subscription = await subscribe(made, destination, { ack: 'client-individual' });
  await send(made, destination, 'one');
  settle(await subscription.next(), 'nack', {});
  const again = await subscription.next();
  assert.equal(again.headers.redelivered, 'true');
  await receipt(made, id => settle(again, 'ack', { receipt: id }));
}

async function transactions() {
  const destination = fresh('/queue');
  const { made } = await connect();
  const subscription = await subscribe(made, destination);
  const [given, kept] = [made.begin(`tx-${number()}`), made.begin(`tx-${number()}`)];
  client.send(made, destination, 'given up', { transaction: given.id });
  client.send(made, destination, 'one', { transaction: kept.id });
  given.abort();
  await send(made, destination, 'outside');
  kept.commit();
  assert.deepEqual([(await subscription.next()).body, (await subscription.next()).body], ['outside', 'one']);
}

async function bounce(body, options) {
  const destination = fresh('/topic');
  const { made } = await connect(options);
  const subscription = await subscribe(made, destination);
  await send(made, destination, body);
  assert.equal((await subscription.next()).body.replace(/\0$/, ''), body);
}

async function errorAndClose() {
  const { made, errors } = await connect();
  client.send(made, '/nowhere/at-all', 'lost', { receipt: 'why' });
  const { headers } = await errors.next();
  assert.equal(headers.code, 'unknown-destination');
  assert.equal(headers['receipt-id'], 'why');
  await errors.next();
  assert.equal(made.connected, false);
}

async function disconnect() {
  const { made, errors } = await connect();
  const closed = new Promise(resolve => made.ws.on('close', resolve));
  await within(new Promise(resolve => made.disconnect(resolve)), 'the callback of disconnect');
  await within(closed, 'close');
  assert.equal(errors.arrived.length, 0);
}

async function reconnect() {
  const { errors } = await connect();
  await restartBroker();
  await errors.next();
  await bounce('after the restart', {});
}
