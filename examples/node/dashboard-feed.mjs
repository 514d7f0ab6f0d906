// What this machine does, several times a second, for ../browser/dashboard.html. Runs until it is stopped.
//
//   node dashboard-feed.mjs

import os from 'node:os';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const client = new Client({ brokerURL: process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws' });
const timers = [];
let before = times();

client.onConnect = () => {
  every(250, () => send('processors', '%', busy()));
  every(500, () => send('memory', '%', 100 * (1 - os.freemem() / os.totalmem())));
  every(1000, () => send('load', 'processes', os.loadavg()[0]));
  // So that there is one with a rate worth looking at.
  every(10, () => send('dice', 'eyes', 1 + Math.floor(Math.random() * 6)));
};

// The client connects again by itself, and then goes on.
client.onWebSocketClose = () => timers.splice(0).forEach(clearInterval);

function every(milliseconds, act) {
  timers.push(setInterval(act, milliseconds));
}

function send(name, unit, value) {
  const headers = { 'content-type': 'application/json' };
  client.publish({ destination: `/topic/dashboard/${name}`, body: JSON.stringify({ value, unit }), headers });
}

/** Percent of all cores' time that was used since the last call. */
function busy() {
  const now = times();
  const [idle, all] = [now.idle - before.idle, now.all - before.all];
  before = now;
  return all === 0 ? 0 : 100 * (1 - idle / all);
}

function times() {
  const cores = os.cpus().map(core => core.times);
  const sum = values => values.reduce((total, value) => total + value, 0);
  return { idle: sum(cores.map(core => core.idle)), all: sum(cores.map(core => sum(Object.values(core)))) };
}

client.activate();
