// What the suite finds in Node.js, for a page: imported there in place of `ws` and of `node:assert/strict`.

export const WebSocket = globalThis.WebSocket;

/** As much of Node's `process` as the suite uses. */
export function process(env, exit) {
  let told = () => {};
  const stdin = {
    once(_, listener) {
      told = listener;
    },
    emit: () => told(),
  };
  return { env, exit, stdin, pid: Math.floor(Math.random() * 1_000_000) };
}

function ok(value, message = `${value} is not true`) {
  if (!value) throw new Error(message);
}

export default {
  ok,
  equal: (actual, expected) => ok(Object.is(actual, expected), `${actual} is not ${expected}`),
  match: (actual, expected) => ok(expected.test(actual), `${actual} does not match ${expected}`),
  deepEqual(actual, expected) {
    const [one, other] = [JSON.stringify(actual), JSON.stringify(expected)];
    ok(one === other, `${one} is not ${other}`);
  },
};
