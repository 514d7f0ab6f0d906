// What an Angular front-end does with RxStomp, which is Stomp.js with streams and with subscriptions that outlive connections.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { RxStomp, RxStompRPC, RxStompState } from '@stomp/rx-stomp';
import { filter, firstValueFrom } from 'rxjs';
import { WebSocket } from 'ws';
import { fresh, mailbox, number, report, restartBroker, within } from './report.mjs';

// Node has no `crypto` of its own before version 20, which uuid wants.
globalThis.crypto ??= webcrypto;
Object.assign(globalThis, { WebSocket });

const brokerURL = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const connectHeaders = { login: process.env.STOMP_LOGIN ?? 'guest', passcode: process.env.STOMP_PASSCODE ?? 'guest' };
const open = new Set();

const failures = await report(
  {
    connect: async () => assert.equal((await connect()).stompClient.connectedVersion, '1.2'),
    'send, subscribe': () => bounce(['one', 'two', 'three']),
    unsubscribe,
    patterns,
    receipts: async () => send(await connect(), fresh('/topic'), 'nobody hears it'),
    'heart-beats': heartBeats,
    'ack individual': () => acknowledge('client-individual', ['one', 'three']),
    'ack cumulative': () => acknowledge('client', ['three']),
    'ack lost': ackLost,
    nack,
    'commit, abort': transactions,
    'large message': () => bounce(['0123456789abcdef'.repeat(65_536)]),
    'split frames': () => bounce(['0123456789abcdef'.repeat(65_536)], { splitLargeFrames: true }),
    'binary body': binaryBody,
    unicode: () => bounce(['Grüße, 世界 👢']),
    'header escapes': headerEscapes,
    'error, close': errorAndClose,
    disconnect: async () => (await connect()).deactivate(),
    'request, reply': requestAndReply,
    reconnect,
  },
  { clear },
);
process.exit(failures === 0 ? 0 : 1);

async function clear() {
  for (const rx of open) await rx.deactivate({ force: true });
  open.clear();
}

/** The first of a stream that is as wanted. */
function first(stream, what, is = () => true) {
  return within(firstValueFrom(stream.pipe(filter(is))), what);
}

async function connect(options = {}) {
  const rx = new RxStomp();
  open.add(rx);
  rx.configure({ brokerURL, connectHeaders, heartbeatIncoming: 0, heartbeatOutgoing: 0, reconnectDelay: 100, ...options });
  rx.activate();
  await first(rx.connectionState$, 'CONNECTED', state => state === RxStompState.OPEN);
  return rx;
}

function receipt(rx, act) {
  const id = `receipt-${number()}`;
  const received = within(rx.asyncReceipt(id), `RECEIPT ${id}`);
  act(id);
  return received;
}

function send(rx, destination, body, headers = {}) {
  const content = body instanceof Uint8Array ? { binaryBody: body } : { body };
  return receipt(rx, id => rx.publish({ destination, ...content, headers: { ...headers, receipt: id } }));
}

async function watch(rx, destination, headers = {}) {
  const { take, next, arrived } = mailbox(`MESSAGE on ${destination}`);
  let subscription;
  await receipt(rx, id => {
    subscription = rx.watch({ destination, subHeaders: { ...headers, receipt: id } }).subscribe(take);
  });
  return { next, arrived, end: () => subscription.unsubscribe() };
}

async function bounce(bodies, options = {}) {
  const destination = fresh('/topic');
  const rx = await connect(options);
  const messages = await watch(rx, destination);
  for (const body of bodies) await send(rx, destination, body);
  for (const body of bodies) assert.equal((await messages.next()).body, body);
}

async function unsubscribe() {
  const destination = fresh('/topic');
  const rx = await connect();
  const [ended, live] = [await watch(rx, destination), await watch(rx, destination)];
  ended.end();
  await send(rx, destination, 'one');
  assert.equal((await live.next()).body, 'one');
  assert.equal(ended.arrived.length, 0);
}

async function heartBeats() {
  const beats = mailbox('heart-beat');
  const rx = await connect({ heartbeatIncoming: 300, heartbeatOutgoing: 300 });
  rx.stompClient.onHeartbeatReceived = beats.take;
  for (let count = 0; count < 8; count += 1) await beats.next();
  await send(rx, fresh('/topic'), 'still here');
}

/** Of three messages the second is acknowledged; the others, or those after it, come to the next reader. */
async function acknowledge(ack, left) {
  const destination = fresh('/queue');
  const [rx, reader] = [await connect(), await connect()];
  for (const body of ['one', 'two', 'three']) await send(rx, destination, body);
  const held = await watch(reader, destination, { ack });
  const messages = [await held.next(), await held.next(), await held.next()];
  await receipt(reader, id => messages[1].ack({ receipt: id }));
  await reader.deactivate();
  const rest = await watch(rx, destination);
  for (const body of left) assert.equal((await rest.next()).body, body);
}

async function ackLost() {
  const destination = fresh('/queue');
  const [rx, reader] = [await connect(), await connect({ reconnectDelay: 0 })];
  await send(rx, destination, 'one');
  await (await watch(reader, destination, { ack: 'client-individual' })).next();
  await reader.deactivate({ force: true });
  const again = await watch(rx, destination);
  assert.equal((await again.next()).headers.redelivered, 'true');
}

/** RxStomp has none itself, but gives its client out for such things. */
async function transactions() {
  const destination = fresh('/queue');
  const rx = await connect();
  const messages = await watch(rx, destination);
  const [given, kept] = [rx.stompClient.begin(), rx.stompClient.begin()];
  rx.publish({ destination, body: 'given up', headers: { transaction: given.id } });
  rx.publish({ destination, body: 'one', headers: { transaction: kept.id } });
  given.abort();
  await send(rx, destination, 'outside');
  kept.commit();
  assert.deepEqual([(await messages.next()).body, (await messages.next()).body], ['outside', 'one']);
}

async function patterns() {
  const base = fresh('/topic');
  const rx = await connect();
  const [star, deep] = [await watch(rx, `${base}/*/price`), await watch(rx, `${base}/**`)];
  await send(rx, `${base}/tea/price`, '3');
  await send(rx, `${base}/tea/stock/north`, '9');
  assert.equal((await star.next()).headers.destination, `${base}/tea/price`);
  assert.deepEqual([(await deep.next()).body, (await deep.next()).body], ['3', '9']);
  assert.equal(star.arrived.length, 0);
}

async function headerEscapes() {
  const destination = fresh('/topic');
  const rx = await connect();
  const messages = await watch(rx, destination);
  const note = 'colon : backslash \\ line\nreturn\rend';
  await send(rx, destination, '', { note });
  assert.equal((await messages.next()).headers.note, note);
}

async function nack() {
  const destination = fresh('/queue');
  const rx = await connect();
  const messages = await watch(rx, destination, { ack: 'client-individual' });
  await send(rx, destination, 'one');
  (await messages.next()).nack();
  const again = await messages.next();
  assert.equal(again.headers.redelivered, 'true');
  await receipt(rx, id => again.ack({ receipt: id }));
}

async function binaryBody() {
  const destination = fresh('/topic');
  const rx = await connect();
  const messages = await watch(rx, destination);
  const bytes = Uint8Array.from({ length: 1024 }, (_, index) => index % 256);
  await send(rx, destination, bytes, { 'content-type': 'application/octet-stream' });
  assert.deepEqual(new Uint8Array((await messages.next()).binaryBody), bytes);
}

async function errorAndClose() {
  const rx = await connect();
  const failed = first(rx.stompErrors$, 'ERROR');
  const closed = first(rx.connectionState$, 'close', state => state === RxStompState.CLOSED);
  rx.publish({ destination: '/nowhere/at-all', body: 'lost', headers: { receipt: 'why' } });
  const { headers } = await failed;
  assert.equal(headers.code, 'unknown-destination');
  assert.equal(headers['receipt-id'], 'why');
  await closed;
}

/** With the library's own helper, whose replies come on a topic of our choice. */
async function requestAndReply() {
  const [destination, replyQueueName] = [fresh('/queue'), fresh('/topic')];
  const [server, rx] = [await connect(), await connect()];
  server.watch(destination).subscribe(({ body, headers }) => {
    const answer = { 'correlation-id': headers['correlation-id'] };
    server.publish({ destination: headers['reply-to'], body: `${body}!`, headers: answer });
  });
  const rpc = new RxStompRPC(rx, { replyQueueName, setupReplyQueue: name => rx.watch(name) });
  const reply = await first(rpc.rpc({ destination, body: 'hello' }), 'the reply');
  assert.equal(reply.body, 'hello!');
}

/** A stream that is watched goes on after the restart, without a word from the program. */
async function reconnect() {
  const destination = fresh('/topic');
  const rx = await connect();
  const messages = mailbox('MESSAGE after the restart');
  rx.watch({ destination }).subscribe(messages.take);
  await restartBroker();
  await first(rx.connectionState$, 'the second CONNECTED', state => state === RxStompState.OPEN);
  await send(rx, destination, 'after the restart');
  assert.equal((await messages.next()).body, 'after the restart');
}
