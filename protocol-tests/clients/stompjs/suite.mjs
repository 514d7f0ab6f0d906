// What a front-end does with Stomp.js, feature by feature, against the broker at STOMP_URL in STOMP_VERSION; over SockJS
// where SOCKJS_TRANSPORT names one of its transports.
//
// Speaks to whoever started it: a line `ok`, `failed` or `-` (not in this version) for each feature on stdout; `@restart`
// asks for a restart of the broker, and a line on stdin tells that it is there again.

import assert from 'node:assert/strict';
import * as kit from './kit.mjs';

const big = '0123456789abcdef'.repeat(65_536);
const later = ['1.1', '1.2'];

await kit.report({
  connect: { run: connect },
  'send, subscribe': { run: sendAndSubscribe },
  unsubscribe: { run: unsubscribe },
  patterns: { run: patterns },
  receipts: { run: receipts },
  'heart-beats': { versions: later, run: heartBeats },
  'ack individual': { run: ackIndividual },
  'ack cumulative': { run: ackCumulative },
  'ack lost': { run: ackLost },
  nack: { versions: later, run: nack },
  prefetch: { run: prefetch },
  'commit, abort': { run: transactions },
  'large message': { run: () => large({}) },
  'split frames': { run: () => large({ splitLargeFrames: true }) },
  'binary body': { only: 'WebSocket', run: binaryBody },
  'binary body refused': { only: 'SockJS', run: binaryBodyRefused },
  'fragile characters': { run: fragileCharacters },
  unicode: { run: unicode },
  'header escapes': { versions: ['1.2'], run: headerEscapes },
  'error, close': { run: errorAndClose },
  'on-error:continue': { run: onErrorContinue },
  'exclude-self, no-local': { run: ownMessages },
  'mandatory, matched': { run: mandatoryAndMatched },
  disconnect: { run: disconnect },
  reconnect: { run: reconnect },
});

async function connect() {
  const client = kit.client();
  const { headers } = await kit.activate(client);
  assert.equal(client.connectedVersion, kit.version);
  if (kit.version !== '1.0') {
    assert.match(headers.server, /./);
    assert.match(headers['heart-beat'], /^\d+,\d+$/);
  }
}

async function sendAndSubscribe() {
  const destination = kit.fresh('/topic');
  const [publisher, reader, other] = await Promise.all([kit.connect(), kit.connect(), kit.connect()]);
  const [first, second] = await Promise.all([kit.subscribe(reader, destination), kit.subscribe(other, destination)]);
  for (let number = 0; number < 100; number += 1) {
    publisher.publish({ destination, body: `${number}`, headers: { number: `${number}`, 'content-type': 'text/plain' } });
  }
  for (const subscription of [first, second]) {
    for (let number = 0; number < 100; number += 1) {
      const message = await subscription.next();
      assert.equal(message.body, `${number}`);
      assert.equal(message.headers.number, `${number}`);
      assert.equal(message.headers.destination, destination);
      assert.equal(message.headers['content-type'], 'text/plain');
    }
  }
}

async function unsubscribe() {
  const destination = kit.fresh('/topic');
  const client = await kit.connect();
  const [ended, live] = [await kit.subscribe(client, destination), await kit.subscribe(client, destination)];
  await ended.unsubscribe();
  await kit.send(client, destination, 'one');
  assert.equal((await live.next()).body, 'one');
  assert.equal(ended.arrived.length, 0);
}

async function patterns() {
  const base = kit.fresh('/topic');
  const client = await kit.connect();
  const star = await kit.subscribe(client, `${base}/*/price`);
  const deep = await kit.subscribe(client, `${base}/**`);
  await kit.send(client, `${base}/tea/price`, '3');
  await kit.send(client, `${base}/tea/stock/north`, '9');
  assert.equal((await star.next()).headers.destination, `${base}/tea/price`);
  assert.equal((await deep.next()).headers.destination, `${base}/tea/price`);
  assert.equal((await deep.next()).headers.destination, `${base}/tea/stock/north`);
  assert.equal(star.arrived.length, 0);
}

async function receipts() {
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, kit.fresh('/topic'));
  await kit.send(client, kit.fresh('/topic'), 'nobody hears it');
  await subscription.unsubscribe();
}

async function heartBeats() {
  let beats = 0;
  let heard;
  const enough = new Promise(resolve => {
    heard = () => (beats += 1) === 2 && resolve();
  });
  const client = await kit.connect({ heartbeatIncoming: 300, heartbeatOutgoing: 300, onHeartbeatReceived: heard });
  await kit.within(enough, 'heart-beats');
  await kit.send(client, kit.fresh('/topic'), 'still here');
}

async function ackIndividual() {
  const destination = kit.fresh('/queue');
  const client = await kit.connect();
  for (const body of ['one', 'two', 'three']) await kit.send(client, destination, body);
  const reader = await kit.connect();
  const subscription = await kit.subscribe(reader, destination, { ack: 'client-individual' });
  const messages = [await subscription.next(), await subscription.next(), await subscription.next()];
  await kit.receipt(reader, id => messages[1].ack({ receipt: id }));
  await kit.disconnect(reader);
  const left = await kit.subscribe(client, destination);
  assert.deepEqual([(await left.next()).body, (await left.next()).body], ['one', 'three']);
}

async function ackCumulative() {
  const destination = kit.fresh('/queue');
  const client = await kit.connect();
  for (const body of ['one', 'two', 'three']) await kit.send(client, destination, body);
  const reader = await kit.connect();
  const subscription = await kit.subscribe(reader, destination, { ack: 'client' });
  const messages = [await subscription.next(), await subscription.next(), await subscription.next()];
  await kit.receipt(reader, id => messages[1].ack({ receipt: id }));
  await kit.disconnect(reader);
  const left = await kit.subscribe(client, destination);
  const message = await left.next();
  assert.equal(message.body, 'three');
  assert.equal(message.headers.redelivered, 'true');
}

async function ackLost() {
  const destination = kit.fresh('/queue');
  const client = await kit.connect();
  await kit.send(client, destination, 'one');
  const reader = await kit.connect();
  const subscription = await kit.subscribe(reader, destination, { ack: 'client-individual' });
  assert.equal((await subscription.next()).headers.redelivered ?? 'false', 'false');
  await reader.deactivate({ force: true });
  const again = await kit.subscribe(client, destination);
  assert.equal((await again.next()).headers.redelivered, 'true');
}

async function nack() {
  const destination = kit.fresh('/queue');
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, destination, { ack: 'client-individual' });
  await kit.send(client, destination, 'one');
  const message = await subscription.next();
  message.nack();
  const again = await subscription.next();
  assert.equal(again.body, 'one');
  assert.equal(again.headers.redelivered, 'true');
  await kit.receipt(client, id => again.ack({ receipt: id }));
}

async function prefetch() {
  const destination = kit.fresh('/queue');
  const [slow, quick] = await Promise.all([kit.connect(), kit.connect()]);
  const held = await kit.subscribe(slow, destination, { ack: 'client-individual', 'prefetch-count': '1' });
  await kit.send(quick, destination, 'one');
  const first = await held.next();
  const free = await kit.subscribe(quick, destination, { ack: 'auto' });
  for (const body of ['two', 'three']) await kit.send(quick, destination, body);
  assert.deepEqual([(await free.next()).body, (await free.next()).body], ['two', 'three']);
  assert.equal(held.arrived.length, 0);
  await kit.receipt(slow, id => first.ack({ receipt: id }));
}

async function transactions() {
  const destination = kit.fresh('/queue');
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, destination);
  const given = client.begin();
  client.publish({ destination, body: 'given up', headers: { transaction: given.id } });
  given.abort();
  const kept = client.begin();
  for (const body of ['one', 'two']) {
    client.publish({ destination, body, headers: { transaction: kept.id } });
  }
  await kit.send(client, destination, 'outside');
  kept.commit();
  const bodies = [await subscription.next(), await subscription.next(), await subscription.next()];
  assert.deepEqual(bodies.map(message => message.body), ['outside', 'one', 'two']);
}

async function large(options) {
  const destination = kit.fresh('/topic');
  const client = await kit.connect(options);
  const subscription = await kit.subscribe(client, destination);
  await kit.send(client, destination, big);
  assert.equal((await subscription.next()).body, big);
}

async function binaryBody() {
  const destination = kit.fresh('/topic');
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, destination);
  const bytes = Uint8Array.from({ length: 1024 }, (_, index) => index % 256);
  await kit.send(client, destination, bytes, { 'content-type': 'application/octet-stream' });
  assert.deepEqual(new Uint8Array((await subscription.next()).binaryBody), bytes);
}

async function binaryBodyRefused() {
  const destination = kit.fresh('/topic');
  const [client, publisher] = [await kit.connect(), await kit.connect(kit.overWebSocket)];
  const subscription = await kit.subscribe(client, destination);
  const closed = new Promise(resolve => (client.onWebSocketClose = resolve));
  const headers = { 'content-type': 'application/octet-stream' };
  await kit.send(publisher, destination, new TextEncoder().encode('text all the same'), headers);
  assert.equal((await subscription.next()).body, 'text all the same');
  await kit.send(publisher, destination, Uint8Array.of(0xff, 0x00, 0xfe), headers);
  const { code, reason } = await kit.within(closed, 'close');
  assert.equal(code, 1003);
  assert.match(reason, /UTF-8/);
}

async function fragileCharacters() {
  const destination = kit.fresh('/topic');
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, destination);
  const codes = Array.from({ length: 0xd800 - 1 }, (_, index) => index + 1);
  const body = `</script>"\\${String.fromCharCode(...codes)}\ufeff\ufffe\uffff`;
  await kit.send(client, destination, body);
  assert.equal((await subscription.next()).body, body);
}

async function unicode() {
  const destination = `${kit.fresh('/topic')}-żółw`;
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, destination);
  await kit.send(client, destination, 'Grüße, 世界 👢', { note: 'sălut 👢' });
  const message = await subscription.next();
  assert.equal(message.body, 'Grüße, 世界 👢');
  assert.equal(message.headers.note, 'sălut 👢');
  assert.equal(message.headers.destination, destination);
}

async function headerEscapes() {
  const destination = kit.fresh('/topic');
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, destination);
  const note = 'colon : backslash \\ line\nreturn\rend';
  await kit.send(client, destination, '', { note });
  assert.equal((await subscription.next()).headers.note, note);
}

async function errorAndClose() {
  const client = await kit.connect();
  const failed = new Promise(resolve => (client.onStompError = resolve));
  const closed = new Promise(resolve => (client.onWebSocketClose = resolve));
  client.publish({ destination: '/nowhere/at-all', body: 'lost', headers: { receipt: 'why' } });
  const { headers, body } = await kit.within(failed, 'ERROR');
  assert.equal(headers.code, 'unknown-destination');
  assert.equal(headers['receipt-id'], 'why');
  assert.match(headers.message, /./);
  assert.match(body, /./);
  const { code } = await kit.within(closed, 'close');
  assert.ok(code >= 1002, `close code ${code}`);
}

async function onErrorContinue() {
  const client = await kit.connect({ connectHeaders: { 'on-error': 'continue' } });
  const failed = new Promise(resolve => (client.onStompError = resolve));
  client.subscribe('/nowhere/at-all', () => {});
  assert.equal((await kit.within(failed, 'ERROR')).headers.code, 'unknown-destination');
  await kit.send(client, kit.fresh('/topic'), 'still here');
}

async function ownMessages() {
  const destination = kit.fresh('/topic');
  const client = await kit.connect();
  const local = await kit.subscribe(client, destination, { 'no-local': 'true' });
  const both = await kit.subscribe(client, destination);
  await kit.send(client, destination, 'to others', { 'exclude-self': 'true' });
  await kit.send(client, destination, 'to all');
  assert.equal((await both.next()).body, 'to all');
  const other = await kit.connect();
  await kit.send(other, destination, 'from elsewhere');
  assert.equal((await local.next()).body, 'from elsewhere');
}

async function mandatoryAndMatched() {
  const destination = kit.fresh('/topic');
  const client = await kit.connect({ connectHeaders: { 'on-error': 'continue' } });
  assert.equal((await kit.send(client, destination, 'a')).headers.matched, '0');
  await kit.subscribe(client, destination);
  assert.equal((await kit.send(client, destination, 'b')).headers.matched, '1');
  const failed = new Promise(resolve => (client.onStompError = resolve));
  client.publish({ destination: kit.fresh('/topic'), body: 'c', headers: { mandatory: 'true', receipt: 'm' } });
  const { headers } = await kit.within(failed, 'ERROR');
  assert.equal(headers.code, 'unroutable');
  assert.equal(headers['receipt-id'], 'm');
}

async function disconnect() {
  const client = await kit.connect();
  const told = new Promise(resolve => (client.onDisconnect = resolve));
  const closed = new Promise(resolve => (client.onWebSocketClose = resolve));
  let errors = 0;
  client.onStompError = () => (errors += 1);
  await kit.disconnect(client);
  await kit.within(told, 'RECEIPT of DISCONNECT');
  assert.equal((await kit.within(closed, 'close')).code, 1000);
  assert.equal(errors, 0);
}

async function reconnect() {
  const destination = kit.fresh('/topic');
  const client = kit.client({ reconnectDelay: 100 });
  await kit.activate(client);
  client.onWebSocketError = () => {};
  const again = new Promise(resolve => (client.onConnect = resolve));
  await kit.restartBroker();
  await kit.within(again, 'the second CONNECTED');
  const subscription = await kit.subscribe(client, destination);
  await kit.send(client, destination, 'after the restart');
  assert.equal((await subscription.next()).body, 'after the restart');
}
