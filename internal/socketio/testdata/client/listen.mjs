// listen.mjs URL TOKEN ROOM [TRANSPORTS]: a client that enters a room, keeps how
// far it has come in each stream, and writes what it hears, a line of JSON for
// each event; TRANSPORTS has commas between.
import { io } from "socket.io-client";

const [url, token, room, transports = "polling,websocket"] = process.argv.slice(2);
const last = {};
const write = (event, arg) => console.log(JSON.stringify({ event, arg }));
const socket = io(url, { auth: (give) => give({ token, last }), reconnectionDelay: 100, reconnectionDelayMax: 500, transports: transports.split(",") });

// It may come before "connect" does.
socket.io.on("open", () => socket.io.engine.on("upgrade", (transport) => write("upgrade", transport.name)));
socket.on("connect", async () => {
  write("connect", socket.io.engine.transport.name);
  write("joined", await socket.timeout(20_000).emitWithAck("join_room", room));
});
socket.on("connect_error", (e) => write("connect_error", e.message));
socket.on("disconnect", (reason) => write("disconnect", reason));
socket.onAny((event, arg) => {
  if (event === "notification") last[arg.stream] = Math.max(last[arg.stream] ?? 0, arg.seq);
  write(event, arg);
});
process.stdin.on("end", () => process.exit(0)).resume();
