// The suite of Stomp.js again, `suite.mjs` as it is, in a page of headless Chromium; then what only a browser can tell.
//
// The page takes its modules from a server on the loopback address. What the suite finds in Node.js, `browser-page.mjs`
// gives it there: its environment, its lines, and a few assertions.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';
import { report, within } from './report.mjs';

const url = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const places = process.env.PATH.split(':').map(folder => `${folder}/chromium`);
const executablePath = places.find(place => existsSync(place));

/** A name that leads to the same server, and is not the broker's own. */
const elsewhere = 'elsewhere.test';

const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  `--host-resolver-rules=MAP ${elsewhere} 127.0.0.1`,
];

const html = `<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script type="importmap">
  { "imports": {
    "@stomp/stompjs": "/node_modules/@stomp/stompjs/esm6/index.js",
    "ws": "/browser-page.mjs",
    "node:assert/strict": "/browser-page.mjs"
  } }
</script>`;

const server = createServer(async (request, response) => {
  const type = request.url === '/' ? 'text/html' : 'text/javascript';
  try {
    const content = request.url === '/' ? html : await readFile(new URL(`.${request.url}`, import.meta.url));
    response.writeHead(200, { 'content-type': type }).end(content);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address();

const browser = await chromium.launch({ executablePath, args, headless: true });
const handshakes = [];
const failuresInPage = await runSuite();
const failures = await report({ 'sub-protocol': subProtocol, compression, 'wrong origin': wrongOrigin }, { clear() {} });
await browser.close();
process.exit(failuresInPage + failures === 0 ? 0 : 1);

/** Runs the suite in a page; answers with what it would have ended with as a program. */
async function runSuite() {
  const page = await browser.newPage();
  page.on('console', message => message.type() === 'log' && console.log(message.text()));
  const network = await page.context().newCDPSession(page);
  await network.send('Network.enable');
  network.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response));
  await page.goto(`http://127.0.0.1:${port}/`);
  const ended = new Promise((resolve, reject) => {
    page.exposeFunction('endOfSuite', resolve);
    page.on('pageerror', reject);
  });
  process.stdin.on('data', () => page.evaluate(() => globalThis.process.stdin.emit()));
  await page.evaluate(async env => {
    const { process } = await import('/browser-page.mjs');
    globalThis.process = process(env, code => globalThis.endOfSuite(code));
    const script = Object.assign(document.createElement('script'), { type: 'module', src: '/suite.mjs' });
    document.head.append(script);
  }, { STOMP_URL: url, STOMP_VERSION: process.env.STOMP_VERSION, STOMP_LOGIN: process.env.STOMP_LOGIN });
  const code = await ended;
  await page.close();
  return code;
}

/** A header of the first handshake, however it is spelled. */
function agreed(name) {
  const headers = Object.entries(handshakes[0].headers);
  return headers.find(([spelled]) => spelled.toLowerCase() === name)?.[1];
}

function subProtocol() {
  assert.equal(agreed('sec-websocket-protocol'), 'v12.stomp');
}

function compression() {
  assert.match(agreed('sec-websocket-extensions'), /permessage-deflate/);
}

/** A page from elsewhere is refused, and the browser says why. */
async function wrongOrigin() {
  const page = await browser.newPage();
  const refused = new Promise(resolve => {
    page.on('console', message => message.text().includes('403') && resolve());
  });
  await page.goto(`http://${elsewhere}:${port}/`);
  const event = page.evaluate(
    where =>
      new Promise(resolve => {
        const socket = new WebSocket(where);
        socket.onopen = () => resolve('open');
        socket.onclose = () => resolve('close');
      }),
    url,
  );
  assert.equal(await within(event, 'the end of the handshake'), 'close');
  await within(refused, 'the word of the browser on 403');
}
