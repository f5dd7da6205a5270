// BullMQ, as its documentation sets it up, over ioredis. Finished jobs are
// removed, as Postrider and asynq remove theirs.
import { Queue, Worker } from 'bullmq';
import { address } from './actor.mjs';

const keep = { attempts: 3, removeOnComplete: true };

export function bullmq(redis) {
  const connection = { ...address(redis), maxRetriesPerRequest: null };
  const queue = new Queue('bench', { connection, defaultJobOptions: keep });
  let worker;
  return {
    add: (mail, delay) => queue.add('mail', mail, delay > 0 ? { delay } : undefined),
    addBulk: (mails) => queue.addBulk(mails.map((data) => ({ name: 'mail', data }))),
    work: async (concurrency, handle) => {
      worker = new Worker('bench', (job) => handle(job.data), { connection, concurrency });
      await worker.waitUntilReady();
    },
    close: async () => {
      await worker?.close();
      await queue.close();
    },
    ready: () => queue.waitUntilReady(),
  };
}
