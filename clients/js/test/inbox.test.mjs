import assert from 'node:assert/strict'
import { test, mock } from 'node:test'
import { Inbox } from '../inbox.js'
import { Page, Server, Socket, chance } from './server.mjs'

/** Lets everything happen that needs no time. */
const settle = async () => {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate)
}

/** An inbox on a server, whose time the test moves. */
async function rig(t, { server = new Server(), getToken } = {}) {
  mock.timers.enable({ apis: ['setTimeout'] })
  const page = new Page()
  const asked = []
  let socket
  const inbox = new Inbox({
    url: 'https://post.example.com/', userId: '42', fetch: server.fetch, document: page,
    getToken: getToken ?? ((how) => (asked.push(how.refresh), 'good')),
    socket: (auth) => (socket = new Socket(server, auth)),
  })
  const got = []
  inbox.onNotification((n) => got.push(n.id))
  inbox.open()
  await settle()
  t.after(() => {
    inbox.close()
    mock.timers.reset()
  })
  const pass = async (ms) => {
    mock.timers.tick(ms)
    await settle()
  }
  return { server, inbox, socket, page, got, asked, pass }
}

const ids = (inbox) => inbox.getState().notifications.map((n) => n.id)

test('loads the inbox, then connects from where it stands', async (t) => {
  const server = new Server()
  for (let i = 0; i < 60; i++) server.post(i % 2 ? 'user:42' : 'everyone', false)
  const { inbox, socket } = await rig(t, { server })
  const state = inbox.getState()
  assert.equal(state.notifications.length, 50)
  assert.deepEqual([state.unread, state.loaded, state.connected, state.hasMore], [60, true, true, true])
  assert.deepEqual(socket.given, [{ token: 'good', last: { 'user:42': 30, everyone: 30, 'room:a': 0 } }])
  assert.equal(await inbox.more(), false)
  assert.equal(inbox.getState().notifications.length, 60)
  assert.equal(inbox.getState().hasMore, false)
})

test('takes what comes in turn, drops doubles, and asks across a gap', async (t) => {
  const { server, inbox, got } = await rig(t)
  const one = server.post('user:42')
  server.push('notification', one)
  const lost = server.post('user:42', false)
  const three = server.post('user:42')
  assert.deepEqual(got, [one.id]) // not three, before two is here
  await settle()
  assert.deepEqual(got, [one.id, lost.id, three.id])
  assert.deepEqual(ids(inbox), [three.id, lost.id, one.id])
  assert.equal(inbox.getState().unread, 3)
})

test('asks more than once where one answer is not enough', async (t) => {
  const { server, got } = await rig(t)
  for (let i = 0; i < 40; i++) server.post('everyone', false)
  const last = server.post('everyone')
  await settle()
  assert.equal(got.length, 41)
  assert.equal(got.at(-1), last.id)
})

for (let seed = 1; seed <= 25; seed++) {
  test(`loses nothing and shows nothing twice, whatever the line does (${seed})`, async (t) => {
    const random = chance(seed)
    const server = new Server()
    const { inbox, socket, page, got, pass } = await rig(t, { server })
    server.failing = () => random() < 0.2
    const held = []
    for (let i = 0; i < 300; i++) {
      const n = server.post(['user:42', 'everyone', 'room:a'][Math.floor(random() * 3)], false)
      const fate = random()
      if (fate < 0.6) server.push('notification', n)
      else if (fate < 0.8) held.push(n) // comes late, or never
      if (random() < 0.1) server.push('notification', server.all()[Math.floor(random() * server.all().length)])
      if (random() < 0.1 && held.length) server.push('notification', held.splice(Math.floor(random() * held.length), 1)[0])
      if (random() < 0.03) socket.cut()
      if (random() < 0.3) socket.connect()
      if (random() < 0.03) server.push('resync', { within_ms: 2000 })
      if (random() < 0.02) page.show(random() < 0.5 ? 'hidden' : 'visible')
      if (random() < 0.2) await pass(random() * 5000)
      if (random() < 0.7) await new Promise(setImmediate) // while answers are on their way
    }
    server.failing = () => false
    page.show('visible')
    for (let i = 0; i < 5; i++) await pass(60_000)
    assert.equal(got.length, 300)
    assert.equal(new Set(got).size, 300)
    for (const [, s] of server.streams) {
      const order = s.notes.map((n) => n.id)
      assert.deepEqual(got.filter((id) => order.includes(id)), order)
    }
    assert.equal(inbox.getState().unread, 300)
    assert.equal(inbox.getState().error, null)
  })
}

test('asks anew on resync, when looked at again, and now and then', async (t) => {
  const { server, got, page, pass } = await rig(t)
  server.post('everyone', false)
  server.push('resync', { within_ms: 2000 })
  await pass(2000)
  assert.equal(got.length, 1)

  page.show('hidden')
  server.post('everyone', false)
  await pass(10 * 60_000)
  assert.equal(got.length, 1) // nobody looks
  page.show('visible')
  await settle()
  assert.equal(got.length, 2)

  server.post('everyone', false)
  await pass(80_000)
  assert.equal(got.length, 3)
})

test('brings a fresh token when the last is over', async (t) => {
  const { server, socket, asked, pass, inbox } = await rig(t)
  assert.ok(!asked.includes(true))
  server.push('auth_expired', { reason: 'expired' })
  socket.cut()
  socket.connect() // which socket.io-client does by itself
  await settle()
  assert.equal(asked.at(-1), true)
  assert.equal(inbox.getState().connected, true)

  // The server refuses, and the client must come back by hand.
  server.tokens = []
  socket.cut()
  socket.connect()
  await settle()
  assert.equal(inbox.getState().error.message, 'Invalid token')
  server.tokens = ['good']
  await pass(30_000)
  assert.equal(inbox.getState().connected, true)
  assert.equal(inbox.getState().error, null)

  // And when the server has ended it.
  socket.cut('io server disconnect')
  await pass(30_000)
  assert.equal(inbox.getState().connected, true)
})

test('asks for a token anew when a request is refused, and once only', async (t) => {
  let n = 0
  const server = new Server()
  server.tokens = ['second']
  const { inbox } = await rig(t, { server, getToken: ({ refresh }) => (n++, refresh ? 'second' : 'first') })
  assert.equal(inbox.getState().loaded, true)
  server.tokens = ['none']
  const before = n
  await assert.rejects(inbox.readAll(), { name: 'HTTPError', status: 401 })
  assert.equal(n - before, 2)
})

test('goes on loading while the server is away', async (t) => {
  const server = new Server()
  server.failing = () => true
  const { inbox, pass } = await rig(t, { server })
  assert.equal(inbox.getState().loaded, false)
  assert.equal(inbox.getState().error.message, 'fetch failed')
  server.post('everyone', false)
  server.failing = () => false
  await pass(30_000)
  assert.deepEqual([inbox.getState().loaded, inbox.getState().connected, inbox.getState().error, ids(inbox).length], [true, true, null, 1])
})

test('keeps counts by their version and sequences', async (t) => {
  const { server, inbox } = await rig(t)
  const first = server.post('user:42')
  server.post('user:42')
  assert.equal(inbox.getState().unread, 2)
  server.mark(first, 'read') // in another tab
  const counts = server.counts()
  server.post('user:42') // comes before the counts do
  server.push('unread_count', counts)
  assert.equal(inbox.getState().unread, 2)
  await settle()
  assert.equal(inbox.getState().notifications.find((e) => e.id === first.id).isRead, true)
  server.push('unread_count', { ...counts, version: counts.version - 1, count: 9 }) // an older one
  assert.equal(inbox.getState().unread, 2)
  server.version++
  server.push('unread_count', { count: 7, unseen: 7, version: server.version, last: { 'user:42': 3 } }) // of a part
  await settle()
  assert.equal(inbox.getState().unread, 2)
})

test('reads, archives, and reads all', async (t) => {
  const { server, inbox } = await rig(t)
  const [a, b, c] = [server.post('user:42'), server.post('room:a'), server.post('everyone')]
  assert.equal((await inbox.read(a.id)).isRead, true)
  assert.deepEqual([inbox.getState().unread, inbox.getState().notifications.at(-1).isRead], [2, true])
  await inbox.archive(b.id)
  assert.deepEqual(ids(inbox), [c.id, a.id])
  assert.equal(inbox.getState().unread, 1)
  await inbox.readAll()
  assert.equal(inbox.getState().unread, 0)
  await inbox.archiveAll()
  assert.deepEqual(ids(inbox), [])
  await assert.rejects(inbox.read('nothing'), { status: 404 })
  server.mark(server.post('user:42'), 'archived') // in another tab
  server.push('unread_count', server.counts())
  await settle()
  assert.deepEqual(ids(inbox), [])
})

test('sees what another tab has read, beyond the first page too', async (t) => {
  const server = new Server()
  for (let i = 0; i < 300; i++) server.post('everyone', false)
  const { inbox } = await rig(t, { server })
  while (await inbox.more());
  assert.equal(inbox.getState().notifications.length, 300)
  for (const n of server.all()) server.mark(n, 'read')
  server.push('unread_count', server.counts())
  await settle()
  assert.ok(inbox.getState().notifications.every((e) => e.isRead))
  assert.equal(inbox.getState().notifications.length, 300)
})

test('follows a stream that has begun anew, and loses one that it may read no more', async (t) => {
  const { server, got, inbox, pass } = await rig(t)
  for (let i = 0; i < 5; i++) server.post('user:42')
  server.streams.set('user:42', { last: 0, notes: [] })
  const again = server.post('user:42', false)
  await inbox.catchUp()
  assert.deepEqual(got.slice(5), [again.id])
  assert.equal(server.post('user:42').id, got.at(-1))

  server.streams.delete('room:a')
  const other = server.post('everyone', false)
  await inbox.catchUp()
  await pass(30_000)
  assert.equal(got.at(-1), other.id)
  assert.equal(inbox.getState().error, null)
})

test('tells rooms that were entered by hand', async (t) => {
  const { server, got } = await rig(t)
  const n = { id: 'x', stream: 'room:lobby', seq: 7, type: 'info', message: 'hello', timestamp: new Date(server.now).toISOString() }
  server.push('notification', n)
  server.push('notification', n)
  server.push('notification', { ...n, id: 'y', seq: 9 })
  assert.deepEqual(got, ['x', 'y'])
})

test('has one state until something changes, and nothing after its end', async (t) => {
  const { server, inbox, socket, pass, got } = await rig(t)
  let changes = 0
  inbox.subscribe(() => changes++)
  const state = inbox.getState()
  assert.equal(inbox.getState(), state)
  assert.ok(Object.isFrozen(state))
  server.post('everyone')
  assert.notEqual(inbox.getState(), state)
  assert.ok(changes > 0)
  inbox.close()
  const [asked, met] = [server.asked.length, got.length]
  assert.equal(socket.connected, false)
  socket.receive('notification', server.post('everyone', false))
  await pass(10 * 60_000)
  assert.deepEqual([server.asked.length, got.length], [asked, met])
})

test('a callback that throws keeps nobody from being told', async (t) => {
  const thrown = []
  const queue = mock.method(globalThis, 'queueMicrotask', (f) => thrown.push(f))
  t.after(() => queue.mock.restore())
  const { server, inbox, got } = await rig(t)
  inbox.onNotification(() => {
    throw new Error('of the page')
  })
  server.post('everyone')
  server.post('everyone')
  assert.equal(got.length, 2)
  assert.equal(inbox.getState().unread, 2)
  assert.throws(thrown.at(-1), /of the page/)
})
