// A chat that answers Gumboot's hooks. It needs Node.js 18 and no packages.
//
//     CHAT_SECRET=... node application.mjs [port]

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const secret = process.env.CHAT_SECRET;
if (!secret) throw new Error('set CHAT_SECRET');
const port = Number(process.argv[2] ?? 8090);
const tolerance = 300; // seconds

const json = 'application/json';
const several = 'application/vnd.gumboot.replies+json';
const rooms = new Map(); // how often somebody said something, by room

/** Whether somebody who knows the secret signed this request, and did so just now. */
function isFromBroker(headers, body) {
  const items = (headers['gumboot-signature'] ?? '').split(',').map(item => item.trim().split('='));
  const seconds = items.find(([name]) => name === 't')?.[1] ?? '';
  if (!/^\d+$/.test(seconds) || Math.abs(Date.now() / 1000 - Number(seconds)) > tolerance) return false;
  const facts = Object.keys(headers)
    .filter(name => name.startsWith('gumboot-') && name !== 'gumboot-signature')
    .sort()
    .map(name => `${name}:${headers[name]}\n`);
  const mac = createHmac('sha256', secret).update(`${seconds}\n${facts.join('')}\n`, 'latin1').update(body);
  const expected = Buffer.from(mac.digest('hex'));
  const isExpected = value => value.length === expected.length && timingSafeEqual(value, expected);
  return items.some(([name, value]) => name === 'v1' && isExpected(Buffer.from(value ?? '')));
}

/** What the chat does: a status, a content type, and what is said. */
function answer({ event, destination, captures, encoding, body, session }) {
  const name = session.user ?? session.id;
  if (event === 'ask' && destination === '/app/rooms') return [200, json, Object.fromEntries(rooms)];
  if (event === 'send' && captures.room) {
    const { room } = captures;
    if (encoding !== 'json' || !body?.text) return [422, json, { message: 'send a JSON object with a text' }];
    rooms.set(room, (rooms.get(room) ?? 0) + 1);
    return [200, several, {
      // One message to the room, which is /topic/chat/{room}, and one to the sender alone, at /user/queue/chat/{room}.
      replies: [
        { body: { from: name, text: body.text } },
        { to: 'sender', body: `you are heard in ${room}` },
      ],
      // The broker keeps it with the session, and tells it with everything that comes from there.
      attributes: { room },
    }];
  }
  if (event === 'disconnected' && session.attributes.room) {
    const { room } = session.attributes;
    return [200, several, { replies: [{ to: `/topic/chat/${room}`, body: { from: name, left: true } }] }];
  }
  return [204];
}

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const body = Buffer.concat(pieces);
  const [status, type, value] = isFromBroker(request.headers, body)
    ? answer(JSON.parse(body))
    : [401, json, { message: 'this is not from the broker' }];
  response.writeHead(status, type ? { 'content-type': type } : {});
  response.end(value && JSON.stringify(value));
});
server.listen(port, '127.0.0.1', () => console.log(`the chat listens on port ${server.address().port}`));
