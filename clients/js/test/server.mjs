// A Postrider as a client sees it: the model that the client is tested against,
// with a line that loses, doubles and turns around what it is told to.
export class Server {
  streams = new Map()
  sockets = new Set()
  marks = { read: new Set(), archived: new Set() }
  version = 0
  asked = []
  tokens = ['good']
  failing = () => false
  now = Date.UTC(2026, 6, 1)

  constructor(streams = ['user:42', 'everyone', 'room:a']) {
    for (const s of streams) this.streams.set(s, { last: 0, notes: [] })
  }

  /** Writes a notification; push says whether it is pushed. */
  post(stream, push = true) {
    const s = this.streams.get(stream)
    s.last++
    this.now += 1000
    const n = { id: `${stream}#${s.last}@${this.now}`, stream, seq: s.last, type: 'info', message: `${stream} ${s.last}`, timestamp: new Date(this.now).toISOString() }
    s.notes.push(n)
    if (push) this.push('notification', n)
    return n
  }

  push(event, what) {
    for (const socket of this.sockets) socket.receive(event, what)
  }

  last() {
    return Object.fromEntries([...this.streams].map(([name, s]) => [name, s.last]))
  }

  all() {
    return [...this.streams.values()].flatMap((s) => s.notes)
  }

  entry(n) {
    const isArchived = this.marks.archived.has(n.id)
    return { ...n, isRead: isArchived || this.marks.read.has(n.id), isArchived }
  }

  counts() {
    const count = this.all().filter((n) => !this.entry(n).isRead).length
    return { count, unseen: count, version: this.version, last: this.last() }
  }

  mark(n, as) {
    this.marks[as].add(n.id)
    this.version++
  }

  fetch = async (url, how) => {
    await null
    const got = await this.answer(url, how)
    await new Promise(setImmediate) // what comes meanwhile is not in it
    return got
  }

  async answer(url, { method, headers }) {
    const { pathname, searchParams } = new URL(url)
    this.asked.push(`${method} ${pathname.replace('/api/notifications', '')}`)
    if (this.failing()) throw new TypeError('fetch failed')
    if (!this.tokens.includes(headers.Authorization?.replace('Bearer ', ''))) return answer(401, { detail: 'the token is not valid' })
    const [, , , who, what] = pathname.split('/')
    const id = decodeURIComponent(who)
    if (what === 'unread-count') return answer(200, this.counts())
    if (what === 'after') return this.after(searchParams.getAll('last'))
    if (what === 'read' || what === 'archive') {
      const n = this.all().find((n) => n.id === id)
      if (!n) return answer(404, {})
      this.mark(n, what === 'read' ? 'read' : 'archived')
      return answer(200, this.entry(n))
    }
    if (what === 'read-all' || what === 'archive-all' || what === 'seen') {
      for (const n of this.all()) if (what !== 'seen') this.mark(n, what === 'read-all' ? 'read' : 'archived')
      this.version++
      return answer(200, this.counts())
    }
    const before = Number(searchParams.get('cursor') ?? Infinity)
    const limit = Number(searchParams.get('limit'))
    const rest = this.all().map((n) => this.entry(n)).filter((e) => !e.isArchived && Date.parse(e.timestamp) < before).sort((a, b) => Date.parse(b.timestamp) - Date.parse(a.timestamp))
    const notifications = rest.slice(0, limit)
    return answer(200, { notifications, next_cursor: rest.length > limit ? String(Date.parse(notifications.at(-1).timestamp)) : undefined, unread: this.counts().count, last: this.last() })
  }

  after(positions, limit = 7) {
    const streams = []
    for (const p of positions) {
      const cut = p.lastIndexOf(':')
      const [name, asked] = [p.slice(0, cut), Number(p.slice(cut + 1))]
      const s = this.streams.get(name)
      if (!s) return answer(404, { detail: 'no such stream' })
      const from = asked > s.last ? 0 : asked
      const notifications = s.notes.filter((n) => n.seq > from).slice(0, limit)
      const through = notifications.length === limit ? notifications.at(-1).seq : s.last
      streams.push({ stream: name, notifications, through, more: through < s.last })
    }
    return answer(200, { streams })
  }
}

const answer = (status, body) => ({ status, ok: status < 300, json: async () => body })

/** A socket of socket.io-client, as far as an inbox needs it. */
export class Socket {
  connected = false
  active = false
  given = []
  #on = new Map()

  constructor(server, auth) {
    this.server = server
    this.auth = auth
  }

  on(event, callback) {
    this.#on.set(event, callback)
  }

  connect() {
    if (this.connected) return
    this.active = true
    this.auth((credentials) => {
      this.given.push(credentials)
      if (!this.server.tokens.includes(credentials.token)) {
        this.active = false
        this.receive('connect_error', Object.assign(new Error('Invalid token'), { data: { code: 'unauthorized' } }))
        return
      }
      this.connected = true
      this.server.sockets.add(this)
      this.receive('connect')
    })
  }

  /** The line is cut, by the reason that socket.io names it. */
  cut(reason = 'transport close') {
    if (!this.connected) return
    this.connected = false
    this.active = reason === 'transport close'
    this.server.sockets.delete(this)
    this.receive('disconnect', reason)
  }

  disconnect() {
    this.active = false
    this.cut('io client disconnect')
  }

  receive(event, what) {
    this.#on.get(event)?.(what)
  }
}

/** A document that is visible or not. */
export class Page extends EventTarget {
  visibilityState = 'visible'

  show(state) {
    this.visibilityState = state
    this.dispatchEvent(new Event('visibilitychange'))
  }
}

/** Numbers by chance, the same for a seed. */
export function chance(seed) {
  let s = seed >>> 0
  return () => {
    s = (s + 0x6d2b79f5) >>> 0
    let t = Math.imul(s ^ (s >>> 15), 1 | s)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
