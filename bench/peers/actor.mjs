// The frame in which a Node contestant runs: it obeys the bench's commands, one
// JSON object a line on standard input, and answers each with one line. Its
// counterpart for Go is actor.go; both do the same in the same order.
import readline from 'node:readline';

export const GATE = 'gate'; // subject of a job that holds its slot until "go"

// now is the wall clock in milliseconds, with microseconds behind the point.
export const now = () => performance.timeOrigin + performance.now();

// mail is the payload of every job: 120 bytes as JSON.
const mail = (subject) => ({
  email: 'user@example.com', subject, message: 'Thanks for signing up'.padEnd(subject === GATE ? 39 : 36, '.'), at: stamp(now()),
});
const stamp = (ms) => Number(ms.toFixed(3));

// serve runs queue = { add(mail, delay), addBulk(mails), work(concurrency,
// handle), close() } until standard input ends.
export async function serve(queue) {
  let done = 0, last = 0, gated = 0, record = null, open, gate;
  const shut = () => { gate = new Promise((resolve) => { open = resolve; }); };
  shut();

  async function handle(m) {
    if (m.subject === GATE) {
      gated++;
      await gate;
      return;
    }
    last = now();
    done++;
    if (record) record.push(last - m.at);
  }

  // add puts n jobs in: in bulks of so many, or by so many callers of which
  // each waits for its answer before it goes on.
  async function add({ jobs, callers = 1, bulk = 0, delay = 0, subject = 'welcome' }) {
    const began = now();
    let left = jobs;
    if (bulk > 0) {
      for (; left > 0; left -= bulk) {
        await queue.addBulk(Array.from({ length: Math.min(bulk, left) }, () => mail(subject)));
      }
    } else {
      const caller = async () => { while (left-- > 0) await queue.add(mail(subject), delay); };
      await Promise.all(Array.from({ length: callers }, caller));
    }
    return { ms: now() - began };
  }

  const commands = {
    add,
    flush: async () => ({}),
    work: async ({ concurrency, record: keep }) => {
      if (keep) record = [];
      await queue.work(concurrency, handle);
      return {};
    },
    reset: async () => { done = 0; gated = 0; last = 0; if (record) record = []; shut(); return {}; },
    go: async () => { open(); return {}; },
    report: async () => ({ done, last, gated }),
    lateness: async () => ({ lateness: record }),
  };

  console.log('{}'); // ready
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { op, ...args } = JSON.parse(line);
    try {
      console.log(JSON.stringify(await commands[op](args)));
    } catch (err) {
      console.log(JSON.stringify({ error: String(err) }));
    }
  }
  await queue.close();
  process.exit(0);
}

// spec says where the servers are: { redis: "host:port", smtp: "host:port" }.
export const spec = JSON.parse(process.argv[2] ?? '{}');

// address splits "host:port".
export function address(text) {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at), port: Number(text.slice(at + 1)) };
}
