// Two tabs of a user keep up with a Postrider that is killed and started again
// in between. Usage: node real.mjs URL SECRET; prints "half" when it is time.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { openInbox } from '../js/index.js'

const [url, secret] = process.argv.slice(2)
const many = 60

function token() {
  const part = (v) => Buffer.from(JSON.stringify(v)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 42, rooms: ['a'], exp: Math.floor(Date.now() / 1000) + 600 })}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

async function until(what, holds) {
  for (const end = Date.now() + 90_000; !holds(); await sleep(20)) assert.ok(Date.now() < end, `in vain: ${what}`)
}

/** Posts until it is answered, and once. */
async function post(i) {
  const to = [{ receiverId: '42' }, { room: 'a' }, { everyone: true }][i % 3]
  for (const end = Date.now() + 90_000; Date.now() < end; await sleep(100)) {
    try {
      const answer = await fetch(`${url}/api/notifications`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': `n${i}` },
        body: JSON.stringify({ ...to, message: `number ${i}`, data: { i } }),
      })
      if (answer.status === 201) return (await answer.json()).id
      assert.ok(answer.status >= 500, `posting is answered with ${answer.status}: ${await answer.text()}`)
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
    }
  }
  throw new Error(`notification ${i} could not be posted`)
}

const tabs = [1, 2].map(() => {
  const inbox = openInbox(url, { userId: '42', getToken: token })
  const got = []
  inbox.onNotification((n) => got.push(n))
  return { inbox, got }
})
await until('both are connected', () => tabs.every((t) => t.inbox.getState().connected))

const ids = []
for (let i = 0; i < many; i++) {
  if (i === many / 2) console.log('half')
  ids.push(await post(i))
  await sleep(20)
}
await until('everything has come', () => tabs.every((t) => t.got.length >= many))
await sleep(500) // doubles would come now
for (const { inbox, got } of tabs) {
  assert.deepEqual(got.map((n) => n.id).sort(), [...ids].sort())
  for (const stream of ['user:42', 'room:a', 'everyone']) {
    const seqs = got.filter((n) => n.stream === stream).map((n) => n.seq)
    assert.deepEqual(seqs, seqs.map((_, k) => k + 1))
  }
  assert.equal(inbox.getState().unread, many)
}
await until('both are connected again', () => tabs.every((t) => t.inbox.getState().connected))
await tabs[0].inbox.readAll()
await until('the other tab knows', () => tabs[1].inbox.getState().unread === 0 && tabs[1].inbox.getState().notifications.every((e) => e.isRead))
for (const { inbox } of tabs) inbox.close()
console.log('done')
