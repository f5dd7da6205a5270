// The clients of a loss run, all in one process. On standard input each line
// asks for what they have shown so far: by client, how often each message.
// { "url", "plain", "clients": [{ "user", "token" }] } is given as argument. Plain
// ones are socket.io-client with a handler, the others the inbox of clients/js.
import { createRequire } from 'node:module';
import readline from 'node:readline';
import { Inbox } from '../../clients/js/inbox.js';

const { io } = createRequire(new URL('../peers/', import.meta.url))('socket.io-client');
const { url, plain, clients } = JSON.parse(process.argv[2]);
const transports = ['websocket']; // the balancer does not keep a client at one process

const shown = {};
const ready = clients.map(({ user, token }) => {
  const times = (shown[user] = {});
  const show = (n) => { times[n.message] = (times[n.message] ?? 0) + 1; };
  if (plain) {
    const socket = io(url, { transports, forceNew: true, auth: { user } });
    socket.on('notification', show);
    return new Promise((done) => socket.once('connect', done));
  }
  const inbox = new Inbox({
    url, userId: user, getToken: () => token,
    socket: (auth) => io(url, { transports, forceNew: true, autoConnect: false, auth }),
  });
  inbox.onNotification(show);
  return new Promise((done) => {
    const look = () => { if (inbox.getState().connected && inbox.getState().loaded) done(); };
    inbox.subscribe(look);
    inbox.open();
  });
});
await Promise.all(ready);
console.log('{}'); // ready
for await (const _ of readline.createInterface({ input: process.stdin })) console.log(JSON.stringify({ shown }));
process.exit(0);
