// The contestant "bullmq" of the mail case: each job is a mail, sent through
// nodemailer with a pool that has a connection for each handler.
import nodemailer from 'nodemailer';
import { address, serve, spec } from './actor.mjs';
import { bullmq } from './bullmq.mjs';

const queue = bullmq(spec.redis);
await queue.ready();
await serve({
  ...queue,
  work: (concurrency, handle) => {
    const pool = nodemailer.createTransport({
      ...address(spec.smtp), pool: true, maxConnections: concurrency, maxMessages: Infinity, ignoreTLS: true,
    });
    return queue.work(concurrency, async (mail) => {
      await pool.sendMail({ from: 'Bench <bench@example.com>', to: mail.email, subject: mail.subject, text: mail.message });
      await handle(mail);
    });
  },
});
