// inboxes.mjs URL USERS: an inbox of clients/js for each of USERS, a JSON list of
// { user, token, from }, over connections from the address `from`. It writes a
// line of JSON, {"event":"look","arg":[…]}, when all have connected, and for each
// line of standard input: what each client has by now.
import http from "node:http";
import readline from "node:readline";
import { io } from "socket.io-client";
import { Inbox } from "../../../../clients/js/inbox.js";

const [url, users] = process.argv.slice(2);

const clients = JSON.parse(users).map(({ user, token, from }) => {
  const client = { user, connected: false, connects: [], shown: {} };
  const inbox = new Inbox({
    url,
    userId: user,
    getToken: () => token,
    socket: (auth) => {
      const agent = new http.Agent({ localAddress: from, keepAlive: true });
      const socket = io(url, { auth, agent, forceNew: true, autoConnect: false });
      socket.on("connect", () => client.connects.push(Date.now()));
      return socket;
    },
  });
  inbox.onNotification((n) => (client.shown[n.message] = (client.shown[n.message] ?? 0) + 1));
  const ready = new Promise((done) => {
    inbox.subscribe(() => {
      client.connected = inbox.getState().connected;
      if (client.connected && inbox.getState().loaded) done();
    });
  });
  inbox.open();
  return { client, ready };
});

const look = () => console.log(JSON.stringify({ event: "look", arg: clients.map(({ client }) => client) }));
await Promise.all(clients.map(({ ready }) => ready));
look();
readline.createInterface({ input: process.stdin }).on("line", look).on("close", () => process.exit(0));
