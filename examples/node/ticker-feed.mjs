// Prices that change many times a second, for ../browser/ticker/. Runs until it is stopped.
//
//   gumboot --config examples/browser/ticker/ticker.toml
//   node ticker-feed.mjs

import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

const client = new Client({ brokerURL: process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws' });
const prices = new Map(['TEA', 'SALT', 'COAL', 'GOLD', 'TIN', 'ZINC', 'WOOL', 'RYE'].map(symbol => [symbol, 100]));
let timer;

client.onConnect = () => {
  timer = setInterval(change, 20);
};

// The client connects again by itself, and then goes on.
client.onWebSocketClose = () => clearInterval(timer);

/** Each symbol has its destination, so that the broker knows which price a new one replaces. */
function change() {
  for (const [symbol, price] of prices) {
    if (Math.random() < 0.3) continue;
    const next = Math.max(1, price + (Math.random() - 0.5) * 2);
    prices.set(symbol, next);
    client.publish({ destination: `/topic/prices/${symbol}`, body: next.toFixed(2) });
  }
}

client.activate();
