import assert from 'node:assert/strict'
import test from 'node:test'
import { Rooms } from '../src/rooms.js'

// Rooms of a client whose server says what the test has it say.
function enter() {
  const handlers = {}
  const socket = {
    connected: true,
    on: (event, handle) => (handlers[event] = handle),
    off() {},
    emit() {},
    timeout: () => ({ emitWithAck: async () => ({ ok: true, users: [] }) }),
  }
  const rooms = new Rooms(socket, 'ann', ['red'])
  return { rooms, told: (event, arg) => handlers[event](arg), texts: () => rooms.getState().red.messages.map((m) => m.text).join(' ') }
}

// A server leaves out the zeros at the end of a second's fraction.
const message = (ms, seq, text) => ({
  id: `${ms}-${seq}`, room: 'red', userId: 'bob', text, timestamp: new Date(ms).toISOString().replace(/\.?0+Z$/, 'Z'),
})

const now = 1795379675650
const said = [message(now, 99, 'a'), message(now, 100, 'b'), message(now + 5, 1, 'c'), message(now + 6, 1, 'd')]

test('messages are in the order in which they were sent', () => {
  const { told, texts } = enter()
  for (const m of [...said].reverse()) told('chat_message', m)
  assert.equal(texts(), 'a b c d')
})

test('what was taken back while nobody was connected goes', () => {
  const { told, texts } = enter()
  told('chat_history', { room: 'red', messages: said })
  told('chat_message', message(now + 7, 1, 'e'))
  told('chat_history', { room: 'red', messages: [said[0], said[2], said[3]] })
  assert.equal(texts(), 'a c d e', 'what came meanwhile stays')
  told('chat_history', { room: 'red', messages: [said[2], said[3]], cursor: said[2].id })
  assert.equal(texts(), 'a c d e', 'what was before stays')
})
