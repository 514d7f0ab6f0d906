// The suite of Stomp.js, `suite.mjs` as it is, through nginx or HAProxy, which PROXY names and which end TLS. Their
// configurations are those of `examples/proxies`, but for the addresses.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { report, within } from './report.mjs';

const name = process.env.PROXY ?? 'nginx';
const transport = process.env.SOCKJS_TRANSPORT;
const node = new URL(process.env.STOMP_URL).host;
const folder = mkdtempSync(join(tmpdir(), 'proxy-'));
const certificate = join(folder, 'certificate.pem');
const running = [];

/** How each is set up in a folder, and started there. */
const proxy = {
  nginx: {
    file: 'nginx.conf',
    listen: ['listen 443', port => `listen 127.0.0.1:${port}`],
    places: [['/etc/ssl/certs/example.com.pem', certificate], ['/etc/ssl/private/example.com.key', join(folder, 'key.pem')]],
    start(config) {
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
      const places = temporary.map(what => `${what}_temp_path ${join(folder, what)};`).join(' ');
      const main = `daemon off; master_process off; pid ${folder}/pid; error_log stderr error;
        events {} http { access_log off; ${places} include ${config}; }`;
      writeFileSync(`${config}.main`, main);
      return ['nginx', ['-p', folder, '-c', `${config}.main`]];
    },
  },
  HAProxy: {
    file: 'haproxy.cfg',
    listen: ['bind :443', port => `bind 127.0.0.1:${port}`],
    places: [['/etc/haproxy/example.com.pem', join(folder, 'both.pem')]],
    start: config => ['haproxy', ['-q', '-db', '-f', config]],
  },
}[name];

makeCertificate();
const url = await start([node]);
const suite = spawn('node', ['suite.mjs'], {
  stdio: 'inherit',
  env: { ...process.env, STOMP_URL: url, NODE_EXTRA_CA_CERTS: certificate },
});
const code = await new Promise(resolve => suite.on('exit', resolve));
const failures = transport ? await report({ 'several nodes': severalNodes }, { clear() {} }) : 0;
await Promise.all(running.map(child => child.kill() && new Promise(resolve => child.on('exit', resolve))));
rmSync(folder, { recursive: true });
process.exit(code === 0 && failures === 0 ? 0 : 1);

/** For `localhost` and a day, signed by itself. */
function makeCertificate() {
  const key = join(folder, 'key.pem');
  const what = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  const whom = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync('openssl', [...what, ...whom, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  writeFileSync(join(folder, 'both.pem'), readFileSync(certificate) + readFileSync(key));
}

/** Starts the proxy in front of these nodes; answers with where STOMP is then. */
async function start(nodes) {
  const port = await freePort();
  let text = readFileSync(join(process.env.REPOSITORY, 'examples/proxies', proxy.file), 'utf8');
  const replace = (from, to) => {
    assert.ok(text.includes(from), `no ${from} in ${proxy.file}`);
    text = text.replaceAll(from, to);
  };
  const [line, other] = proxy.listen;
  replace(line, other(port));
  proxy.places.forEach(([from, to]) => replace(from, to));
  replace(...serverLines(text, nodes));
  const config = join(folder, `${port}-${proxy.file}`);
  writeFileSync(config, text);
  const [program, options] = proxy.start(config);
  const child = spawn(program, options, { stdio: ['ignore', 'ignore', 'inherit'] });
  running.push(child);
  const ended = new Promise((_, reject) => child.on('exit', status => reject(new Error(`${program} ended with ${status}`))));
  await within(Promise.race([listens(port), ended]), name);
  return `wss://localhost:${port}/ws`;
}

/** The line of the configuration that names a node, and what stands there for these. */
function serverLines(text, nodes) {
  const line = text.split('\n').find(line => line.includes('127.0.0.1:15674'));
  assert.ok(line, `no node in ${proxy.file}`);
  const lines = nodes.map((host, index) => line.replace('127.0.0.1:15674', host).replace('node1', `node${index + 1}`));
  return [line, lines.join('\n')];
}

function freePort() {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function listens(port) {
  return new Promise(resolve => {
    const attempt = () => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy()));
      socket.on('error', () => setTimeout(attempt, 20));
    };
    attempt();
  });
}

/** Another node beside the first, and many sessions: were one's requests not all for one node, it would hang or break off. */
async function severalNodes() {
  const settings = ['websocket.bind=127.0.0.1:0', 'tcp.enabled=false', 'admin.enabled=false'];
  const second = spawn(process.env.BROKER, ['serve', ...settings.flatMap(setting => ['--set', setting])], { cwd: folder });
  running.push(second);
  const announced = new Promise(resolve => {
    let said = '';
    second.stdout.on('data', data => {
      said += data;
      const found = /listening on ws:\/\/([\d.:]+)/.exec(said);
      if (found) resolve(found[1]);
    });
  });
  const both = await start([node, await within(announced, 'the second broker')]);
  const sessions = spawn('node', ['sessions.mjs'], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, STOMP_URL: both, NODE_EXTRA_CA_CERTS: certificate },
  });
  assert.equal(await new Promise(resolve => sessions.on('exit', resolve)), 0);
}
