// The live contestant: Node's socket.io, with the handlers of live.go. Clients
// are in the rooms that they name, "shout" tells a room, "echo" is answered. With
// Redis there is the adapter that reaches the clients of all processes. Set up
// as the documentation advises: bufferutil beside ws, and the handshake's request
// let go of.
import http from 'node:http';
import readline from 'node:readline';
import v8 from 'node:v8';
import vm from 'node:vm';
import { createAdapter } from '@socket.io/redis-adapter';
import Redis from 'ioredis';
import { Server } from 'socket.io';
import { address, spec } from './actor.mjs';

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');

const server = http.createServer();
const io = new Server(server, { transports: ['websocket'], serveClient: false });
const connections = [];
if (spec.redis) {
  for (let i = 0; i < 2; i++) connections.push(new Redis(address(spec.redis)));
  io.adapter(createAdapter(connections[0], connections[1]));
}
io.engine.on('connection', (raw) => { raw.request = null; });
io.on('connection', (socket) => {
  socket.join(socket.handshake.auth.rooms);
  socket.on('shout', (room, note) => io.to(room).emit('notification', note));
  socket.on('echo', (arg, answer) => answer(arg));
});

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ addr: `127.0.0.1:${server.address().port}` })));
for await (const _ of readline.createInterface({ input: process.stdin })) { // "collect" is the one command
  collect();
  collect();
  console.log('{}');
}
for (const c of connections) c.disconnect();
process.exit(0);
