// The chat page of the examples in headless Chromium, with the broker configured as the example says: two people, one of them
// through SockJS.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';
import { report } from './report.mjs';

const broker = new URL(process.env.STOMP_URL ?? 'ws://127.0.0.1:15674/ws').host;
const places = process.env.PATH.split(':').map(folder => `${folder}/chromium`);
const executablePath = places.find(place => existsSync(place));

const server = createServer(async (request, response) => {
  if (!request.url.startsWith('/?')) return response.writeHead(404).end();
  const page = await readFile(`${process.env.EXAMPLES}/browser/chat/index.html`);
  response.writeHead(200, { 'content-type': 'text/html' }).end(page);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address();

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'], headless: true });
const failures = await report({ chat, 'chat over SockJS': () => chat('&sockjs') }, { clear() {} });
await browser.close();
process.exit(failures === 0 ? 0 : 1);

/** Somebody on the page. What the page takes from a public network is here already. */
async function join(name, query) {
  const page = await browser.newPage();
  await page.route('https://cdn.jsdelivr.net/npm/**', route => {
    const [, file] = route.request().url().match(/npm\/((?:@[^/]+\/)?[^/@]+@[^/]+\/.*)$/);
    return route.fulfill({ path: `node_modules/${file.replace(/(.)@[^/]+/, '$1')}`, contentType: 'text/javascript' });
  });
  await page.goto(`http://127.0.0.1:${port}/?broker=${broker}${query}`);
  await page.fill('#join input', name);
  await page.click('#join button');
  await sees(page, `${name}joined`);
  return page;
}

async function sees(page, line) {
  await page.locator('#messages li', { hasText: line }).first().waitFor();
}

async function chat(query = '') {
  const ann = await join('Ann', '');
  const bob = await join('Bob "the builder"', query);
  await sees(ann, 'Bob "the builder"joined');
  await bob.fill('#say input', '<b>Hello</b>');
  await bob.click('#say button');
  await sees(ann, 'Bob "the builder"<b>Hello</b>');
  await bob.close();
  await sees(ann, 'Bob "the builder"left');
  const lines = await ann.locator('#messages li').allInnerTexts();
  assert.equal(lines.length, 4, lines.join('; '));
  await ann.close();
}
