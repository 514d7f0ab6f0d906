// What the features of `suite.mjs` share: clients, subscriptions that can be waited on, and the report.

import { Client, Versions } from '@stomp/stompjs';
import SockJS from 'sockjs-client';
import { WebSocket } from 'ws';

// Node has no WebSocket of its own before version 22, and ours can be asked for its close code.
Object.assign(globalThis, { WebSocket });

const url = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const version = process.env.STOMP_VERSION ?? '1.2';
const transport = process.env.SOCKJS_TRANSPORT;
const login = process.env.STOMP_LOGIN ? { login: process.env.STOMP_LOGIN, passcode: process.env.STOMP_PASSCODE } : {};

/** How long anything may take before it is called missing. A working broker on a busy machine never takes this long. */
const patience = 20_000;

const open = new Set();
const run = `${process.pid}-${Date.now()}`;
let count = 0;

export { transport, version };

/** A destination that nobody else uses. */
export function fresh(prefix) {
  count += 1;
  return `${prefix}/${run}-${count}`;
}

/** Waits for a promise, but not for ever. */
export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${patience} ms`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What Stomp.js uses in place of a WebSocket. */
function sockjs() {
  return new SockJS(url.replace(/^ws/, 'http'), null, { transports: [transport] });
}

/** Options of a client that uses WebSocket where the others use SockJS. */
export const overWebSocket = { brokerURL: url, webSocketFactory: undefined };

/** A client that is set up but not yet active. */
export function client(options = {}) {
  const { connectHeaders = {}, ...rest } = options;
  const made = new Client({
    ...(transport ? { webSocketFactory: sockjs } : { brokerURL: url }),
    stompVersions: new Versions([version]),
    reconnectDelay: 0,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
    connectHeaders: { ...login, ...connectHeaders },
    ...rest,
  });
  open.add(made);
  return made;
}

/** Activates a client and waits until it is connected; answers with the CONNECTED frame. */
export function activate(made) {
  const connected = new Promise((resolve, reject) => {
    made.onConnect = resolve;
    made.onStompError = frame => reject(new Error(`ERROR ${frame.headers.message}`));
    made.onWebSocketError = event => reject(new Error(`WebSocket: ${event.message ?? 'failed'}`));
  });
  made.activate();
  return within(connected, 'CONNECTED');
}

/** A connected client. */
export async function connect(options = {}) {
  const made = client(options);
  await activate(made);
  return made;
}

/** Does something that asks for a receipt, and waits for it. */
export function receipt(made, act) {
  count += 1;
  const id = `receipt-${count}`;
  const received = new Promise(resolve => made.watchForReceipt(id, resolve));
  act(id);
  return within(received, `RECEIPT ${id}`);
}

/** Sends, and waits until the broker has routed the message; answers with the RECEIPT. */
export function send(made, destination, body, headers = {}) {
  const content = body instanceof Uint8Array ? { binaryBody: body } : { body };
  return receipt(made, id => made.publish({ destination, ...content, headers: { ...headers, receipt: id } }));
}

/** A live subscription whose messages can be waited for, one after the other. */
export async function subscribe(made, destination, headers = {}) {
  const arrived = [];
  const waiting = [];
  const take = message => (waiting.length > 0 ? waiting.shift()(message) : arrived.push(message));
  let subscription;
  await receipt(made, id => {
    subscription = made.subscribe(destination, take, { ...headers, receipt: id });
  });
  const next = () =>
    arrived.length > 0 ? Promise.resolve(arrived.shift()) : new Promise(resolve => waiting.push(resolve));
  return {
    next: () => within(next(), `MESSAGE on ${destination}`),
    /** Messages that are there and that nobody waited for. */
    arrived,
    unsubscribe: () => receipt(made, id => subscription.unsubscribe({ receipt: id })),
  };
}

/** Ends a client: DISCONNECT, its receipt, close. */
export function disconnect(made) {
  open.delete(made);
  return within(made.deactivate(), 'the end of DISCONNECT');
}

/** Asks whoever runs this to stop the broker and start it again where it was. */
export function restartBroker() {
  const restarted = new Promise(resolve => process.stdin.once('data', resolve));
  console.log('@restart');
  return within(restarted, 'the broker, started again');
}

/** Tries one feature after the other, says how each went, and ends the process. */
export async function report(features) {
  let failures = 0;
  const over = transport ? 'SockJS' : 'WebSocket';
  for (const [name, feature] of Object.entries(features)) {
    const { versions = ['1.0', '1.1', '1.2'], only = over, run } = feature;
    if (!versions.includes(version) || only !== over) {
      console.log(`- ${name}`);
      continue;
    }
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      failures += 1;
      console.log(`failed ${name}: ${String(error.message).replaceAll('\n', ' ')}`);
    }
    for (const made of open) {
      await made.deactivate({ force: true });
    }
    open.clear();
  }
  process.exit(failures === 0 ? 0 : 1);
}
