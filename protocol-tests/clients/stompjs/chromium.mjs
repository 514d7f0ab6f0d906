// A headless Chromium that reaches this machine only, and a server for its pages.

import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

/** A name that leads to this machine, and that no broker knows. */
export const elsewhere = 'elsewhere.test';

const types = { html: 'text/html', css: 'text/css', json: 'application/json' };

/** `rules` say where names lead, as `MAP pages.test:80 127.0.0.1:1234`; all others that are not of this machine lead nowhere. */
export function launch(rules, more = []) {
  const places = process.env.PATH.split(':').map(folder => `${folder}/chromium`);
  const all = [...rules, `MAP ${elsewhere} 127.0.0.1`, 'MAP 127.0.0.1 127.0.0.1', 'MAP * ~NOTFOUND'];
  const args = [
    ...more,
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    `--host-resolver-rules=${all.join(', ')}`,
  ];
  return chromium.launch({ executablePath: places.find(place => existsSync(place)), args, headless: true });
}

/** Serves what `read` answers for a path on a free port, which this answers with. What it does not find is a 404. */
export async function serve(read) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const type = types[pathname.endsWith('/') ? 'html' : pathname.split('.').at(-1)] ?? 'text/javascript';
    try {
      const content = await read(pathname);
      response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return server.address().port;
}
