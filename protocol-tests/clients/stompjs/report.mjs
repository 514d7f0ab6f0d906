// What every suite in JavaScript shares, whatever its client: names, waiting, and the report.

/** How long anything may take before it is called missing. A working broker on a busy machine never takes this long. */
const patience = 20_000;

const run = `${process.pid}-${Date.now()}`;
let count = 0;

/** Another number each time. */
export function number() {
  count += 1;
  return count;
}

/** A destination that nobody else uses. */
export function fresh(prefix) {
  return `${prefix}/${run}-${number()}`;
}

/** Waits for a promise, but not for ever. */
export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${patience} ms`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What arrives, to be waited for one after the other. */
export function mailbox(what) {
  const arrived = [];
  const waiting = [];
  return {
    take: item => (waiting.length > 0 ? waiting.shift()(item) : arrived.push(item)),
    next: () =>
      within(arrived.length > 0 ? arrived.shift() : new Promise(resolve => waiting.push(resolve)), what),
    /** What is there and nobody waited for. */
    arrived,
  };
}

/** Asks whoever runs this to stop the broker and start it again where it was. */
export function restartBroker() {
  const restarted = new Promise(resolve => process.stdin.once('data', resolve));
  console.log('@restart');
  return within(restarted, 'the broker, started again');
}

/** Tries one feature after the other, says how each went, and answers with the number of failures. */
export async function report(features, { isThere = () => true, clear }) {
  let failures = 0;
  for (const [name, feature] of Object.entries(features)) {
    if (!isThere(feature)) {
      console.log(`- ${name}`);
      continue;
    }
    try {
      await (feature.run ?? feature)();
      console.log(`ok ${name}`);
    } catch (error) {
      failures += 1;
      console.log(`failed ${name}: ${String(error.message).replaceAll('\n', ' ')}`);
    }
    await clear();
  }
  return failures;
}
