// The suite of Stomp.js again, `suite.mjs` as it is, in a page of headless Chromium; then what only a browser can tell.
//
// What the suite finds in Node.js, `browser-page.mjs` gives it in the page: its environment, its lines, a few assertions.
// PAGE says where the page comes from: from a server on this machine, which the broker lets in (`local`), from another
// site (`other`), or from the broker's own origin (`same`), where it only seems so to the browser.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { elsewhere, launch, serve } from './chromium.mjs';
import { report, within } from './report.mjs';

const url = process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws';
const transport = process.env.SOCKJS_TRANSPORT;
const broker = new URL(url.replace(/^ws/, 'http')).origin;

const html = `<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script src="./node_modules/sockjs-client/dist/sockjs.min.js"></script>
<script type="importmap">
  { "imports": {
    "@stomp/stompjs": "./node_modules/@stomp/stompjs/esm6/index.js",
    "sockjs-client": "data:text/javascript,export default globalThis.SockJS",
    "ws": "./browser-page.mjs",
    "node:assert/strict": "./browser-page.mjs"
  } }
</script>`;

const port = await serve(path => (path === '/' ? html : readFile(new URL(`.${path}`, import.meta.url))));
// A page that seems to come from the broker comes from no address of this machine, for which it would need a permission.
const browser = await launch([`MAP pages.test:80 127.0.0.1:${port}`], ['--disable-features=LocalNetworkAccessChecks']);
const pages = { local: `http://127.0.0.1:${port}/`, other: 'http://pages.test/', same: `${broker}/pages/` };
const origin = process.env.PAGE ?? 'local';

/** An answer for a client that has gone, which has taken away the function that the answer calls. */
const tooLate = /^_jp\.\w+ is not a function$/;

const handshakes = [];
const requests = [];
const failuresInPage = await runSuite();
const features = transport
  ? { 'transport as forced': transportAsForced, 'wrong origin': wrongOriginOfSockJS }
  : { 'sub-protocol': subProtocol, compression, 'wrong origin': wrongOrigin };
const isThere = feature => feature !== wrongOriginOfSockJS || !(transport.startsWith('iframe') || origin === 'same');
const failures = await report(features, { isThere, clear() {} });
await browser.close();
process.exit(failuresInPage + failures === 0 ? 0 : 1);

/** Runs the suite in a page; answers with what it would have ended with as a program. */
async function runSuite() {
  const page = await browser.newPage();
  page.on('console', message => message.type() === 'log' && console.log(message.text()));
  page.on('request', request => requests.push(request.url()));
  const network = await page.context().newCDPSession(page);
  await network.send('Network.enable');
  network.on('Network.webSocketCreated', created => requests.push(created.url));
  network.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response));
  if (origin === 'same') await pretendToComeFromTheBroker(network);
  await page.goto(pages[origin]);
  const ended = new Promise((resolve, reject) => {
    page.exposeFunction('endOfSuite', resolve);
    page.on('pageerror', error => tooLate.test(error.message) || reject(error));
  });
  process.stdin.on('data', () => page.evaluate(() => globalThis.process.stdin.emit()));
  const { STOMP_VERSION, STOMP_LOGIN } = process.env;
  await page.evaluate(async env => {
    const { process } = await import(`${location.href}browser-page.mjs`);
    globalThis.process = process(env, code => globalThis.endOfSuite(code));
    const script = Object.assign(document.createElement('script'), { type: 'module', src: './suite.mjs' });
    document.head.append(script);
  }, { STOMP_URL: url, STOMP_VERSION, STOMP_LOGIN, SOCKJS_TRANSPORT: transport });
  const code = await ended;
  await page.close();
  return code;
}

/** What the browser asks for below `/pages/` at the broker comes from here; all else goes to the broker. */
async function pretendToComeFromTheBroker(network) {
  network.on('Fetch.requestPaused', async ({ requestId, request }) => {
    const answer = await fetch(`http://127.0.0.1:${port}/${request.url.slice(pages.same.length)}`);
    const responseHeaders = [{ name: 'content-type', value: answer.headers.get('content-type') }];
    const body = Buffer.from(await answer.arrayBuffer()).toString('base64');
    await network.send('Fetch.fulfillRequest', { requestId, responseCode: answer.status, responseHeaders, body });
  });
  await network.send('Fetch.enable', { patterns: [{ urlPattern: `${pages.same}*` }] });
}

/** The addresses that were asked for are those of the transport. */
function transportAsForced() {
  const name = transport.replace('iframe-', '').replace('xhr-polling', 'xhr').replace('-polling', '').replace('-', '_');
  const seen = requests.map(request => new URL(request).pathname).filter(path => path.startsWith('/ws/'));
  assert.ok(seen.some(path => path.endsWith(`/${name}`)), `no /${name} in ${seen.slice(0, 5)}`);
  const others = ['websocket', 'xhr_streaming', 'xhr', 'eventsource', 'htmlfile', 'jsonp'].filter(one => one !== name);
  assert.deepEqual(seen.filter(path => others.some(other => path.endsWith(`/${other}`))), []);
}

/** A page that was not let in does not even learn whether there is a broker. */
async function wrongOriginOfSockJS() {
  const page = await browser.newPage();
  await page.goto(`http://${elsewhere}:${port}/`);
  const ended = page.evaluate(
    ([where, transports]) =>
      new Promise(resolve => {
        const socket = new SockJS(where, null, { transports });
        socket.onopen = () => resolve('open');
        socket.onclose = () => resolve('close');
      }),
    [url.replace(/^ws/, 'http'), [transport]],
  );
  assert.equal(await within(ended, 'the end of the attempt'), 'close');
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
