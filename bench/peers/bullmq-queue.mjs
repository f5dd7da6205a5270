// The contestant "bullmq": no-op jobs.
import { serve, spec } from './actor.mjs';
import { bullmq } from './bullmq.mjs';

const queue = bullmq(spec.redis);
await queue.ready();
await serve(queue);
