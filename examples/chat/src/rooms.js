// The rooms that somebody chats in: what is said, who is there, who types. A
// message is here as soon as it is sent, and is sent again until the server has
// it: its client_id keeps it from being stored twice.
const patience = 5_000 // milliseconds for an answer
const typingFor = 6_000 // after its last sign; a killed server tells no end
const typingAgain = 2_000 // between signs of our own

const empty = { messages: [], cursor: '', users: [], typing: [], fresh: 0, joined: false, error: '' }

/** The order in which messages were sent: their ids are two numbers. */
function byId(a, b) {
  const [[aTime, aSeq], [bTime, bSeq]] = [a, b].map((m) => m.id.split('-').map(Number))
  return aTime - bTime || aSeq - bSeq
}

export class Rooms {
  #state
  #listeners = new Set()
  #events
  #typed = 0
  #ends = new Map() // of typing, by room and user

  constructor(socket, user, names) {
    this.socket = socket
    this.user = user
    this.#state = Object.fromEntries(names.map((name) => [name, { ...empty }]))
    this.#events = {
      connect: () => names.forEach((room) => this.#join(room)),
      disconnect: () => names.forEach((room) => this.#set(room, { joined: false, typing: [] })),
      chat_history: (h) => this.#history(h),
      chat_message: (m) => this.#came(m),
      chat_deleted: ({ room, id }) => this.#change(room, (s) => ({ messages: s.messages.filter((m) => m.id !== id) })),
      typing: (t) => this.#types(t),
      user_online: ({ room, userId }) => this.#change(room, (s) => ({ users: [...new Set([...s.users, userId])].sort() })),
      user_offline: ({ room, userId }) => this.#change(room, (s) => ({ users: s.users.filter((u) => u !== userId) })),
    }
    for (const [event, handle] of Object.entries(this.#events)) socket.on(event, handle)
  }

  close() {
    for (const [event, handle] of Object.entries(this.#events)) this.socket.off(event, handle)
    for (const timer of this.#ends.values()) clearTimeout(timer)
  }

  subscribe = (callback) => {
    this.#listeners.add(callback)
    return () => this.#listeners.delete(callback)
  }

  getState = () => this.#state

  /** Says something. */
  say(room, text) {
    const clientId = crypto.randomUUID()
    const message = { id: clientId, clientId, room, userId: this.user, text, timestamp: new Date().toISOString(), pending: true }
    this.#change(room, (s) => ({ messages: [...s.messages, message] }))
    this.#typed = 0
    return this.#send(message)
  }

  /** Sends what could not be sent. */
  retry(message) {
    this.#mark(message, { pending: true, failed: false })
    return this.#send(message)
  }

  /** Shows what was said before. */
  async older(room) {
    const { cursor } = this.#state[room]
    if (!cursor) return
    const answer = await this.#ask('chat_history', { room, before: cursor })
    if (!answer.ok) return this.#set(room, { error: answer.error })
    this.#change(room, (s) => ({ messages: merge(answer.messages, s.messages), cursor: answer.cursor ?? '', error: '' }))
  }

  /** Tells the others that we type, or no longer do. */
  typing(room, typing) {
    const now = Date.now()
    if (!this.socket.connected || (typing && now - this.#typed < typingAgain) || (!typing && this.#typed === 0)) return
    this.#typed = typing ? now : 0
    this.socket.emit('typing', { room, typing })
  }

  /** The room is looked at: nothing in it is new. */
  look(room) {
    if (this.#state[room].fresh > 0) this.#set(room, { fresh: 0 })
  }

  async #join(room) {
    const answer = await this.#ask('join_room', room)
    if (!answer.ok) return this.#set(room, { error: answer.error })
    this.#set(room, { joined: true, users: answer.users, error: '' })
    for (const m of this.#state[room].messages) if (m.pending) this.#send(m)
  }

  async #send(message) {
    const { room, text, clientId } = message
    if (!this.#state[room].joined) return // it goes out once we are in the room
    const answer = await this.#ask('chat_message', { room, text, client_id: clientId })
    if (answer.ok) this.#came({ ...message, id: answer.id, timestamp: answer.timestamp, pending: false })
    // What the line has lost goes out again when it is back.
    else if (this.socket.connected || !answer.lost) this.#mark(message, { pending: false, failed: answer.error })
  }

  async #ask(event, arg) {
    try {
      return await this.socket.timeout(patience).emitWithAck(event, arg)
    } catch {
      return { ok: false, lost: true, error: 'no answer' }
    }
  }

  #history({ room, messages, cursor = '' }) {
    this.#change(room, (s) => {
      const known = new Set(s.messages.map((m) => m.id))
      // Where nothing of it is known, what lies between is reached by older().
      const adjoins = s.messages.length === 0 || messages.some((m) => known.has(m.id)) || !cursor
      // What it lacks of its own stretch was taken back while we were away.
      const outside = (m) => messages.length === 0 || byId(m, messages[0]) < 0 || byId(m, messages.at(-1)) > 0
      const own = s.messages.filter((m) => m.pending || m.failed || (adjoins && outside(m)))
      return { messages: merge(messages, own), cursor: adjoins && s.messages.some((m) => known.has(m.id) && !m.pending) ? s.cursor : cursor }
    })
  }

  #came(m) {
    this.#change(m.room, (s) => {
      const known = s.messages.some((o) => o.id === m.id)
      return { messages: merge([m], s.messages), fresh: s.fresh + (known || m.userId === this.user ? 0 : 1) }
    })
    this.#types({ room: m.room, userId: m.userId, typing: false })
  }

  #types({ room, userId, typing }) {
    const key = `${room} ${userId}`
    clearTimeout(this.#ends.get(key))
    if (typing) this.#ends.set(key, setTimeout(() => this.#types({ room, userId, typing: false }), typingFor))
    this.#change(room, (s) => ({ typing: [...s.typing.filter((u) => u !== userId), ...(typing ? [userId] : [])] }))
  }

  #mark(message, how) {
    this.#change(message.room, (s) => ({ messages: s.messages.map((m) => (m.clientId === message.clientId ? { ...m, ...how } : m)) }))
  }

  #change(room, change) {
    if (this.#state[room]) this.#set(room, change(this.#state[room]))
  }

  #set(room, what) {
    this.#state = { ...this.#state, [room]: { ...this.#state[room], ...what } }
    for (const callback of this.#listeners) callback()
  }
}

/** Both, each message once, as the server has it; what is under way last. */
function merge(told, here) {
  const stored = new Map()
  for (const m of [...here.filter((m) => !m.pending && !m.failed), ...told]) stored.set(m.id, { ...m, pending: false })
  const sent = new Set([...stored.values()].filter((m) => m.clientId).map((m) => `${m.userId} ${m.clientId}`))
  const waiting = here.filter((m) => (m.pending || m.failed) && !sent.has(`${m.userId} ${m.clientId}`))
  return [...[...stored.values()].sort(byId), ...waiting]
}
