// Pages as the common tutorials write them, with nothing of Postrider's own but
// the token. Usage: node tutorials.mjs URL SECRET
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'

const { io } = createRequire(new URL('../js/', import.meta.url))('socket.io-client')
const [url, secret] = process.argv.slice(2)
const patience = 60_000

function token(claims) {
  const part = (v) => Buffer.from(JSON.stringify(v)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

const sockets = []

/** A page whose events wait to be asked for. */
async function page(claims) {
  const socket = io(url, { auth: { token: token(claims) }, reconnection: false })
  sockets.push(socket)
  const heard = []
  const waiting = []
  socket.onAny((event, ...args) => {
    heard.push({ event, args })
    for (const look of waiting.splice(0)) look()
  })
  await once(socket, 'connect')
  return {
    socket,
    emit: (...args) => socket.timeout(patience).emitWithAck(...args),
    /** The argument of the first event of that name that has not been asked for. */
    async hears(event, test = () => true) {
      for (const end = Date.now() + patience; ; ) {
        const i = heard.findIndex((h) => h.event === event && test(...h.args))
        if (i >= 0) return heard.splice(i, 1)[0].args[0]
        assert.ok(Date.now() < end, `${claims.sub} does not hear ${event}, but ${JSON.stringify(heard)}`)
        await new Promise((resolve) => {
          waiting.push(resolve)
          setTimeout(resolve, 500)
        })
      }
    },
    heard: (event) => heard.filter((h) => h.event === event).length,
  }
}

// Notifications: "registerUser", then one user notifies the other.
const ann = await page({ sub: 'ann', name: 'Ann', rooms: ['lobby'], scope: 'notify broadcast' })
const ben = await page({ sub: 7, rooms: ['lobby'] })
ann.socket.emit('registerUser', 'ann')
ben.socket.emit('registerUser', 7)
const sent = await ann.emit('sendNotification', { senderId: 'ann', receiverId: 7, message: 'You have a new follower', type: 'follow' })
assert.equal(sent.ok, true)
const got = await ben.hears('receiveNotification')
assert.equal(got.id, sent.id)
assert.equal(got.message, 'You have a new follower')
assert.deepEqual(got.data, { type: 'follow', senderId: 'ann', senderName: 'Ann' })
assert.ok(Date.parse(got.timestamp) > 0)

// The list of them, as a page fetches it.
const list = await (await fetch(`${url}/api/notifications/7`, { headers: { Authorization: `Bearer ${token({ sub: 7 })}` } })).json()
assert.equal(list.notifications[0].id, sent.id)
assert.equal(list.notifications[0].isRead, false)
assert.equal(list.notifications[0].timestamp, got.timestamp)

// Nobody becomes anybody else.
assert.equal((await ben.emit('registerUser', 'ann')).ok, false)
ben.socket.emit('authenticate', { userId: 'ann' })
assert.equal((await ben.hears('error')).code, 'forbidden')
assert.deepEqual(await ben.emit('authenticate', { userId: 7 }), { ok: true, userId: '7' })
await ben.hears('authenticated')
// Nor reaches whom the token does not allow.
assert.equal((await ben.emit('sendNotification', { receiverId: 'ann', message: 'hey' })).ok, false)
assert.equal((await ben.emit('broadcastNotification', { message: 'hey' })).ok, false)

// To everyone, by a client and by the API.
assert.equal((await ann.emit('broadcastNotification', { message: 'We are moving' })).ok, true)
assert.equal((await ben.hears('global_notification')).message, 'We are moving')
const post = (body) => fetch(`${url}/api/notifications`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
assert.equal((await post({ everyone: true, type: 'system', message: 'Down at noon' })).status, 201)
assert.equal((await ben.hears('server_announcement')).message, 'Down at noon')
assert.equal(ben.heard('global_notification'), 0)

// Rooms: "joinRoom", "userJoined".
ann.socket.emit('joinRoom', { username: 'ann', room: 'lobby' })
await ann.hears('userJoined', (who) => who.userId === 'ann')
assert.deepEqual((await ben.emit('join_room', 'lobby')).users, ['7', 'ann'])
assert.deepEqual(await ann.hears('user_online', (who) => who.userId === '7'), { userId: '7', room: 'lobby' })
assert.equal((await ben.emit('send_notification', { room: 'lobby', message: 'Hello, room' })).ok, true)
assert.equal((await ann.hears('room_notification')).message, 'Hello, room')
assert.equal((await ben.emit('joinRoom', 'board')).ok, false)

// Chat: "sendRoomMessage", "chatMessage", "sendMessage".
ann.socket.emit('sendRoomMessage', { room: 'lobby', message: 'Anybody there?', username: 'ann' })
const said = await ben.hears('receiveRoomMessage')
assert.deepEqual([said.message, said.username, said.room], ['Anybody there?', 'ann', 'lobby'])
ben.socket.emit('chatMessage', 'I am')
assert.equal((await ann.hears('chatMessage')).text, 'I am')
ann.socket.emit('sendMessage', { room: 'lobby', author: 'Somebody else', message: 'Good', time: '10:30' })
const message = await ben.hears('receiveMessage', (m) => m.message === 'Good')
assert.deepEqual([message.author, message.time, message.senderId], ['ann', '10:30', 'ann'])
assert.equal((await ann.emit('sendMessage', { senderId: 'ann', receiverId: 7, text: 'Between us' })).ok, true)
assert.equal((await ben.hears('receiveMessage', (m) => m.text === 'Between us')).senderId, 'ann')
const late = await page({ sub: 'cyd', rooms: ['lobby'] })
late.socket.emit('joinRoom', 'lobby')
assert.deepEqual((await late.hears('chatHistory')).map((m) => m.message), ['I am', 'Good'])

assert.equal((await ben.emit('leaveRoom', 'lobby')).ok, true)
await ann.hears('userLeft', (who) => who.userId === '7')
ben.socket.disconnect()

for (const socket of sockets) socket.disconnect()
console.log('done')
