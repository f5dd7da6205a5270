// The HTTP contestant: Express takes POST /jobs and adds a BullMQ job, with the
// checks that a careful service makes. It prints the address it serves on.
import express from 'express';
import { spec } from './actor.mjs';
import { bullmq } from './bullmq.mjs';

const queue = bullmq(spec.redis);
await queue.ready();

const app = express();
app.disable('x-powered-by');
app.use(express.json());
app.post('/jobs', async (req, res) => {
  const { type, payload } = req.body ?? {};
  if (typeof type !== 'string' || typeof payload !== 'object' || payload === null) {
    res.status(422).json({ error: 'type and payload must be given' });
    return;
  }
  const job = await queue.add(payload, 0);
  res.status(202).json({ message: 'Job added to queue', id: job.id, queue: 'bench', state: 'queued' });
});

const server = app.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ addr: `127.0.0.1:${server.address().port}` })));
process.stdin.resume();
process.stdin.on('end', async () => {
  server.closeAllConnections();
  server.close();
  await queue.close();
  process.exit(0);
});
