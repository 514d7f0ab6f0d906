// Many sessions at once, each of which hears itself a few times. Ends with 0 if all do.

import assert from 'node:assert/strict';
import * as kit from './kit.mjs';

const sessions = Array.from({ length: 12 }, async () => {
  const destination = kit.fresh('/topic');
  const client = await kit.connect();
  const subscription = await kit.subscribe(client, destination);
  for (const body of ['one', 'two', 'three', 'four']) {
    await kit.send(client, destination, body);
    assert.equal((await subscription.next()).body, body);
  }
  await kit.disconnect(client);
});
await Promise.all(sessions);
process.exit(0);
