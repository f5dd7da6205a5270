// The peer of a loss run: Node's socket.io with its adapter for Redis, which
// emits to a room what is posted, as the common tutorials do.
// { "redis": "host:port" } is given as argument.
import http from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../peers/', import.meta.url));
const { Server } = require('socket.io');
const { createAdapter } = require('@socket.io/redis-adapter');
const { Redis } = require('ioredis');

const at = JSON.parse(process.argv[2]).redis.split(':');
const connect = () => new Redis({ host: at[0], port: Number(at[1]) }).on('error', () => {}); // it connects again by itself

const server = http.createServer(async (req, res) => {
  let body = '';
  for await (const chunk of req) body += chunk;
  const { room, message } = JSON.parse(body);
  io.to(room).emit('notification', { message });
  res.writeHead(202).end('{}');
});
const io = new Server(server, { transports: ['websocket'], serveClient: false, adapter: createAdapter(connect(), connect()) });
io.on('connection', (socket) => {
  const { user } = socket.handshake.auth;
  socket.join([`user:${user}`, 'everyone', ...(Number(user) % 2 === 0 ? ['room:team'] : [])]);
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ addr: `127.0.0.1:${server.address().port}` })));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
