// A page of `examples/browser`, which PAGE names, in headless Chromium: that it has nothing to complain of, and where it is
// known here what it should do, that it does.
//
// The broker is where the pages look for it. What they take from a public network of copies comes from the packages that
// are installed here, which must be of the same version.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { launch, serve } from './chromium.mjs';
import { within } from './report.mjs';

const name = process.env.PAGE;
const { INSTALLED, REPOSITORY, STOMP_URL } = process.env;

/** What is to be seen on the pages that somebody has described. */
const known = {
  async 'index.html'(page) {
    await page.click('#connect button');
    await connected(page);
    await page.click('#subscribe button');
    await page.click('#send button');
    await seen(page, 'reached 1');
    await seen(page, 'Hello!');
  },
  async 'dashboard.html'(page) {
    await connected(page);
    for (const tile of ['processors', 'memory', 'load', 'dice']) await seen(page, tile);
    await seen(page, /[1-9]\d* messages a second/);
  },
  /** One window over WebSocket, one over SockJS; then the latter is closed. */
  async 'chat/index.html'(page) {
    const other = await open('chat/index.html?sockjs');
    for (const [window, user] of [[page, 'alice'], [other, 'bob']]) {
      await window.fill('[name=username]', user);
      await window.click('#join button');
      await seen(window, new RegExp(`${user}\\s*joined`));
    }
    await other.fill('[name=content]', 'Hello, alice!');
    await other.click('#say button');
    await seen(page, 'Hello, alice!');
    await other.close();
    await seen(page, /bob\s*left/);
  },
  /** Two windows of one user, and one of another, who notifies the first. */
  async 'notifications.html'(page) {
    const [second, other] = [await open('notifications.html'), await open('notifications.html')];
    for (const [window, user] of [[page, 'bob'], [second, 'bob'], [other, 'eve']]) {
      await window.fill('#connect [name=user]', user);
      await window.click('#connect button');
      await seen(window, `as ${user}`);
    }
    await other.fill('#send [name=user]', 'bob');
    await other.click('#send button');
    await seen(other, "reached 2 of bob's windows");
    for (const window of [page, second]) await seen(window, 'Your tea is ready.');
  },
  async 'ticker/index.html'(page) {
    await connected(page);
    for (const symbol of ['TEA', 'GOLD', 'RYE']) await seen(page, symbol);
    const price = await page.locator('td').nth(1).textContent();
    await page.waitForFunction(old => document.querySelectorAll('td')[1].textContent !== old, price);
  },
};

const port = await serve(path => (path === '/favicon.ico' ? '' : read(path)));
const browser = await launch([`MAP 127.0.0.1:15674 ${new URL(STOMP_URL).host}`]);
const context = await browser.newContext();
await context.route('https://cdn.jsdelivr.net/**', fromPackages);
context.setDefaultTimeout(20_000);
const complaints = [];
const page = await open(name);
await known[name]?.(page);
await browser.close();
assert.deepEqual(complaints, []);
process.exit(0);

/** Opens a page, and where nothing more will be asked of it, waits until it is through with loading. */
async function open(path) {
  const page = await context.newPage();
  page.on('pageerror', error => complaints.push(error.message));
  page.on('console', message => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(`http://127.0.0.1:${port}/browser/${path}`, { waitUntil: known[name] ? 'load' : 'networkidle' });
  return page;
}

/** Whatever may be read is an example, or a package of theirs. */
function read(path) {
  const top = path.startsWith('/node/node_modules/') ? INSTALLED : REPOSITORY;
  return readFile(join(top, 'examples', path.endsWith('/') ? `${path}index.html` : path));
}

/** `npm/@stomp/stompjs@7.5.0/bundles/stomp.umd.min.js`, from `node_modules`. */
async function fromPackages(route) {
  const { pathname } = new URL(route.request().url());
  const [, what, version, path] = /^\/npm\/(@?[^@]+)@([^/]+)\/(.+)$/.exec(pathname);
  const folder = new URL(`node_modules/${what}/`, import.meta.url);
  const installed = JSON.parse(await readFile(new URL('package.json', folder)));
  if (installed.version !== version) complaints.push(`${pathname} is not of version ${installed.version}`);
  await route.fulfill({ contentType: 'text/javascript', body: await readFile(new URL(path, folder)) });
}

async function connected(page) {
  await page.waitForFunction(() => document.getElementById('state').textContent.startsWith('Connected'));
}

/** Waits until a text is on the page. */
async function seen(page, text) {
  await within(page.getByText(text).first().waitFor(), `${text} on the page`);
}
