// bee-queue, with what its documentation advises for throughput: no events and
// no jobs kept in memory, which nobody here listens for.
import Queue from 'bee-queue';
import { address, serve, spec } from './actor.mjs';

const settings = {
  redis: address(spec.redis), getEvents: false, sendEvents: false, storeJobs: false, removeOnSuccess: true, activateDelayedJobs: true,
};
const queue = new Queue('bench', { ...settings, isWorker: false, activateDelayedJobs: false });
await queue.ready();
let worker;

await serve({
  add: (mail, delay) => {
    const job = queue.createJob(mail).retries(3);
    if (delay > 0) job.delayUntil(Date.now() + delay);
    return job.save();
  },
  addBulk: async (mails) => {
    const failed = await queue.saveAll(mails.map((mail) => queue.createJob(mail).retries(3)));
    for (const err of failed.values()) throw err;
  },
  work: async (concurrency, handle) => {
    worker = new Queue('bench', settings);
    await worker.ready();
    worker.process(concurrency, (job) => handle(job.data));
  },
  close: async () => {
    await worker?.close();
    await queue.close();
  },
});
