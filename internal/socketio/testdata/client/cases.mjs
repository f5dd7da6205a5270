// What a client of Socket.IO may rely on, asked of the unmodified
// socket.io-client: in Node by node.mjs, in a browser by page.html.

const patience = 20_000; // ms; a case that works never waits for it

function assert(ok, what) {
  if (!ok) throw new Error(what);
}

function equal(got, want) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  assert(a === b, `got ${a?.slice(0, 300)}, want ${b?.slice(0, 300)}`);
}

// once waits for an event and returns its arguments.
function once(emitter, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no "${event}" came`)), patience);
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

const transports = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };

// runCases tries every case by one way of transport and reports each.
export async function runCases(io, url, mode, report) {
  for (const [name, run] of Object.entries(cases)) {
    const opened = [];
    // connect makes a client and waits until it is connected, and upgraded where
    // that is to be.
    const client = (path = "", options = {}) => {
      const c = io(url + path, {
        transports: transports[mode], forceNew: true, reconnectionDelay: 10, reconnectionDelayMax: 50,
        auth: { token: "good" }, ...options,
      });
      opened.push(c);
      return c;
    };
    const settled = async (c) => {
      if (mode === "upgrade" && c.io.engine.transport.name === "polling") await once(c.io.engine, "upgrade");
    };
    const connect = async (path, options) => {
      const c = client(path, options);
      const refused = new Promise((_, reject) => c.once("connect_error", reject));
      refused.catch(() => {});
      await Promise.race([once(c, "connect"), refused]);
      await settled(c);
      return c;
    };
    try {
      await run({ client, connect, settled, mode });
      report({ name, ok: true });
    } catch (e) {
      report({ name, ok: false, error: String(e?.stack ?? e) });
    }
    for (const c of opened) c.disconnect();
  }
}

const cases = {
  async "transport is the one asked for"({ connect, mode }) {
    const c = await connect();
    equal(c.io.engine.transport.name, mode === "polling" ? "polling" : "websocket");
    assert(c.id && c.connected, "connected, with an id");
  },

  async "auth refused, with message and data"({ client }) {
    const c = client("", { auth: { token: "bad" } });
    const [err] = await once(c, "connect_error");
    equal([err.message, err.data, c.connected, c.active], ["not authorized", { code: "E_TOKEN" }, false, false]);
    c.auth = { token: "good" }; // and again with another one, over the same connection
    c.connect();
    await once(c, "connect");
  },

  async "unknown namespace"({ client }) {
    const [err] = await once(client("/nowhere"), "connect_error");
    equal(err.message, "Invalid namespace");
  },

  async "echo with Unicode"({ connect }) {
    const c = await connect();
    const said = ["ünï ✓ 🦄 \u2028 \u0000 \"\\", { a: [1, null, true, 1.5e-7], "é": {} }, null, false];
    const back = once(c, "message-back");
    c.emit("message", ...said);
    equal(await back, said);
  },

  async "200 KB both ways"({ connect }) {
    const c = await connect();
    const big = "abcdefghi✓".repeat(17_000);
    const back = once(c, "message-back");
    c.emit("message", big);
    assert((await back)[0] === big, "what comes back is what was sent");
  },

  async "over the limit"({ connect }) {
    const c = await connect();
    const gone = once(c, "disconnect");
    c.emit("message", "x".repeat(2_000_000));
    const [reason] = await gone;
    assert(["transport close", "transport error"].includes(reason), `disconnected by ${reason}`);
    await once(c, "connect"); // comes back by itself
  },

  async "order of 500, while it upgrades"({ client }) {
    const c = client();
    const got = [];
    const all = new Promise((resolve) => c.on("message-back", (i) => got.push(i) === 500 && resolve()));
    for (let i = 0; i < 250; i++) c.emit("message", i); // buffered until it is connected
    await once(c, "connect");
    for (let i = 250; i < 500; i++) {
      c.emit("message", i);
      if (i % 25 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.race([all, new Promise((_, reject) => setTimeout(() => reject(new Error(`${got.length} came`)), patience))]);
    equal(got, Array.from({ length: 500 }, (_, i) => i));
  },

  async "order of 500 from the server"({ connect }) {
    const c = await connect();
    const got = [];
    const all = new Promise((resolve) => c.on("n", (i) => got.push(i) === 500 && resolve()));
    c.emit("burst", 500);
    await Promise.race([all, new Promise((_, reject) => setTimeout(() => reject(new Error(`${got.length} came`)), patience))]);
    equal(got, Array.from({ length: 500 }, (_, i) => i));
  },

  async "ack"({ connect }) {
    const c = await connect();
    equal(await c.timeout(patience).emitWithAck("message-with-ack", { a: 1 }), { a: 1 });
  },

  async "ack timeout"({ connect }) {
    const c = await connect();
    let failed;
    await c.timeout(50).emitWithAck("never").catch((e) => (failed = e));
    equal(failed?.message, "operation has timed out");
  },

  async "binary, and binary acks"({ connect }) {
    const c = await connect();
    const bytes = (b) => [...new Uint8Array(b.buffer ?? b, b.byteOffset ?? 0, b.byteLength)];
    const back = once(c, "message-back");
    c.emit("message", Uint8Array.from([1, 2, 3]), "x", Uint8Array.from([4]));
    const [a, x, b] = await back;
    equal([bytes(a), x, bytes(b)], [[1, 2, 3], "x", [4]]);
    equal(bytes(await c.timeout(patience).emitWithAck("message-with-ack", Uint8Array.from([0, 255]))), [0, 255]);
  },

  async "server to client ack"({ connect }) {
    const c = await connect();
    c.on("question", (n, answer) => answer(n * 2));
    equal(await c.timeout(patience).emitWithAck("ask me", 21), 42);
  },

  async "kick, and no coming back"({ connect }) {
    const c = await connect();
    const gone = once(c, "disconnect");
    const bye = once(c, "bye");
    c.emit("kick");
    await bye;
    equal(await gone, ["io server disconnect", undefined].slice(0, (await gone).length));
    await new Promise((resolve) => setTimeout(resolve, 150));
    equal([c.connected, c.active], [false, false]);
  },

  async "kick that closes, and no coming back"({ connect }) {
    const c = await connect();
    const gone = once(c, "disconnect");
    c.emit("kick and close");
    equal((await gone)[0], "io server disconnect");
    await new Promise((resolve) => setTimeout(resolve, 150));
    equal([c.connected, c.active], [false, false]);
  },

  async "drop, and coming back"({ connect, settled }) {
    const c = await connect();
    const was = c.id;
    const [bye, gone] = [once(c, "bye"), once(c, "disconnect")];
    c.emit("drop");
    await bye;
    equal((await gone)[0], "transport close");
    await once(c, "connect");
    await settled(c);
    assert(c.id !== was, "it has a new id");
    equal(await c.timeout(patience).emitWithAck("message-with-ack", 1), 1);
  },

  async "two namespaces on one connection"({ connect }) {
    const a = await connect();
    const b = a.io.socket("/second", { auth: { token: "good" } });
    b.connect();
    await once(b, "connect");
    assert(a.id !== b.id && a.io.engine === b.io.engine, "two sockets, one connection");
    equal([await a.timeout(patience).emitWithAck("where"), await b.timeout(patience).emitWithAck("where")], ["/", "/second"]);
    b.disconnect();
    equal(await a.timeout(patience).emitWithAck("message-with-ack", "still"), "still");
    b.connect();
    await once(b, "connect");
    equal(await b.timeout(patience).emitWithAck("where"), "/second");
  },

  async "rooms and broadcasts"({ connect }) {
    const [a, b, c] = [await connect(), await connect(), await connect()];
    for (const member of [a, b]) await member.timeout(patience).emitWithAck("join", "room");
    const got = { a: [], b: [], c: [] };
    a.on("said", (x) => got.a.push(x));
    b.on("said", (x) => got.b.push(x));
    c.on("said", (x) => got.c.push(x));
    await a.timeout(patience).emitWithAck("say", "room", "to both");
    await a.timeout(patience).emitWithAck("say to others", "room", "to b");
    for (const member of [a, b, c]) await member.timeout(patience).emitWithAck("message-with-ack", 0); // what was before has arrived
    equal(got, { a: ["to both"], b: ["to both", "to b"], c: [] });
  },

  async "disconnect by the client"({ connect }) {
    const c = await connect();
    const gone = once(c, "disconnect");
    c.disconnect();
    equal((await gone)[0], "io client disconnect");
    c.connect();
    await once(c, "connect");
    equal(await c.timeout(patience).emitWithAck("message-with-ack", 1), 1);
  },

  async "heartbeat"({ connect }) {
    const c = await connect();
    let gone = false;
    c.on("disconnect", () => (gone = true));
    for (let i = 0; i < 3; i++) await once(c.io, "ping");
    assert(!gone, "it stays connected");
    equal(await c.timeout(patience).emitWithAck("message-with-ack", 1), 1);
  },
};
