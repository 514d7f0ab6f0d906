// What the features of `suite.mjs` share: clients, subscriptions that can be waited on, and the report.

import { Client, Versions } from '@stomp/stompjs';
import { WebSocket } from 'ws';
import { fresh, mailbox, number, report as reportAll, restartBroker, within } from './report.mjs';

// Node has no WebSocket of its own before version 22, and ours can be asked for its close code.
Object.assign(globalThis, { WebSocket });

const url = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const version = process.env.STOMP_VERSION ?? '1.2';
const transport = process.env.SOCKJS_TRANSPORT;
// Only where it is used: a browser that runs this page has no such module.
const SockJS = transport ? (await import('sockjs-client')).default : undefined;
const login = process.env.STOMP_LOGIN ? { login: process.env.STOMP_LOGIN, passcode: process.env.STOMP_PASSCODE } : {};

const open = new Set();

export { fresh, restartBroker, transport, version, within };

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
  const id = `receipt-${number()}`;
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
  const { take, next, arrived } = mailbox(`MESSAGE on ${destination}`);
  let subscription;
  await receipt(made, id => {
    subscription = made.subscribe(destination, take, { ...headers, receipt: id });
  });
  return {
    next,
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

/** Tries one feature after the other, says how each went, and ends the process. */
export async function report(features) {
  const over = transport ? 'SockJS' : 'WebSocket';
  const isThere = ({ versions = ['1.0', '1.1', '1.2'], only = over }) => versions.includes(version) && only === over;
  const failures = await reportAll(features, { isThere, clear });
  process.exit(failures === 0 ? 0 : 1);
}

async function clear() {
  for (const made of open) {
    await made.deactivate({ force: true });
  }
  open.clear();
}
