// An inbox that loses nothing and shows nothing twice. A push is a hint: of each
// stream the last sequence is kept up to which everything is here, and it moves
// by one at a time. Whatever does not fit is asked for.
import { Requests } from './http.js'
import { Counts } from './counts.js'

const pageSize = 50
const largestPage = 200
const streamsAtOnce = 50 // asked after in one request, whose URL is bounded
const slowTimer = 60_000 // milliseconds between questions for what was lost
const firstWait = 1_000 // before a question that failed is repeated; doubled each time
const longestWait = 30_000

const at = (entry) => Date.parse(entry.timestamp)

export class Inbox {
  #requests
  #socket
  #connect
  #document
  #token
  #stale = false // the token was refused or is over
  #last = new Map() // stream → the sequence up to which everything is here
  #high = new Map() // stream that cannot be asked after → the highest sequence met
  #entries = new Map() // id → entry
  #counts = new Counts()
  #cursor
  #loaded = false
  #connected = false
  #closed = false
  #error = null
  #catching = null // the question under way
  #again = false // it has to be asked once more
  #failures = 0
  #timers = new Set()
  #listeners = { change: new Set(), notification: new Set() }
  #state

  constructor({ url, userId, getToken, socket, fetch = globalThis.fetch?.bind(globalThis), document = globalThis.document }) {
    if (!url || !userId || !getToken) throw new TypeError('an inbox needs url, userId and getToken')
    this.#token = async (refused) => {
      const refresh = refused || this.#stale
      const token = await getToken({ refresh })
      if (refresh) this.#stale = false
      return token
    }
    this.#requests = new Requests({ url, userId, token: this.#token, fetch })
    this.#connect = socket
    this.#document = document
    this.#publish()
  }

  /** Loads the inbox and connects. It is called once. */
  open() {
    this.#socket = this.#connect((give) => {
      this.#token(false).then(
        (token) => give({ token, last: Object.fromEntries(this.#last) }),
        (error) => this.#failed(error, () => this.#socket.connect()),
      )
    })
    const s = this.#socket
    s.on('connect', () => this.#set(() => ((this.#connected = true), (this.#error = null), (this.#failures = 0))))
    s.on('disconnect', (reason) => {
      this.#set(() => (this.#connected = false))
      // The client does not come back by itself when the server has ended it.
      if (reason === 'io server disconnect') this.#later(this.#wait(), () => s.connect())
    })
    s.on('connect_error', (error) => {
      if (error.data?.code === 'unauthorized') this.#stale = true
      this.#set(() => (this.#error = error))
      if (!s.active) this.#later(this.#wait(), () => s.connect())
    })
    s.on('auth_expired', () => (this.#stale = true))
    s.on('notification', (n) => this.#pushed(n))
    s.on('unread_count', (c) => this.#counted(c))
    s.on('resync', (how) => this.#later(Math.random() * (how?.within_ms ?? 0), () => this.catchUp()))
    this.#document?.addEventListener('visibilitychange', this.#looked)
    this.catchUp()
    this.#slowly()
  }

  /** Ends everything; the inbox cannot be opened again. */
  close() {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    this.#document?.removeEventListener('visibilitychange', this.#looked)
    this.#socket?.disconnect()
    this.#set(() => (this.#connected = false))
    for (const all of Object.values(this.#listeners)) all.clear()
  }

  /** Calls back with each new notification, in the order of its stream; returns what ends that. */
  onNotification(callback) {
    this.#listeners.notification.add(callback)
    return () => this.#listeners.notification.delete(callback)
  }

  /** Calls back when getState() has changed; returns what ends that. */
  subscribe = (callback) => {
    this.#listeners.change.add(callback)
    return () => this.#listeners.change.delete(callback)
  }

  /** What there is now; the same object until something changes. */
  getState = () => this.#state

  /** Loads the page behind the oldest entry; whether there are more after it. */
  async more() {
    if (!this.#cursor) return false
    const page = await this.#requests.page(pageSize, this.#cursor)
    this.#set(() => {
      this.#cursor = page.next_cursor
      for (const e of page.notifications) this.#entries.set(e.id, e)
    })
    return Boolean(page.next_cursor)
  }

  /** Marks one as read. */
  read(id) {
    return this.#mark(id, 'read')
  }

  /** Archives one, which is read then. */
  archive(id) {
    return this.#mark(id, 'archive')
  }

  /** Marks all as read. */
  readAll() {
    return this.#markAll('read-all', (e) => ({ ...e, isRead: true }))
  }

  /** Archives all. */
  archiveAll() {
    return this.#markAll('archive-all', () => null)
  }

  /** Notes that the inbox was looked at. */
  seen() {
    return this.#markAll('seen', (e) => e)
  }

  /**
   * Asks for what came after what is here, which happens by itself; resolves
   * once it is here, or the question has failed and is to be repeated.
   */
  catchUp() {
    this.#again = true
    this.#catching ??= this.#catch().finally(() => (this.#catching = null))
    return this.#catching
  }

  async #catch() {
    while (this.#again && !this.#closed) {
      this.#again = false
      try {
        if (!this.#loaded) await this.#first()
        for (let streams = [...this.#last.keys()]; streams.length > 0 && !this.#closed; ) {
          const asked = new Map(streams.splice(0, streamsAtOnce).map((s) => [s, this.#last.get(s)]))
          const answer = await this.#requests.after([...asked])
          for (const stretch of answer.streams) if (this.#follow(stretch, asked.get(stretch.stream))) streams.push(stretch.stream)
        }
        this.#failures = 0
        if (this.#error) this.#set(() => (this.#error = null))
      } catch (error) {
        if (error.status === 404) this.#loaded = false // the token opens fewer rooms than before
        this.#failed(error, () => this.catchUp())
        return
      }
    }
  }

  /** Takes in what came after a sequence; whether there is more. */
  #follow({ stream, notifications, through, more }, asked) {
    this.#set(() => {
      if (through < asked && this.#last.get(stream) === asked) this.#last.set(stream, 0) // it has begun anew
      for (const n of notifications) if (n.seq > this.#last.get(stream)) this.#take(n)
      this.#last.set(stream, through < asked ? through : Math.max(through, this.#last.get(stream)))
    })
    return more
  }

  #pushed(n) {
    const last = this.#last.get(n.stream)
    if (last === undefined && !this.#loaded) return // the page will have it, or the question after it
    if (last === undefined) {
      // A room that is not in the inbox: there is no asking after it.
      if (n.seq > (this.#high.get(n.stream) ?? 0)) this.#set(() => this.#take(n))
      this.#high.set(n.stream, Math.max(n.seq, this.#high.get(n.stream) ?? 0))
      return
    }
    if (n.seq === last + 1) this.#set(() => (this.#take(n), this.#last.set(n.stream, n.seq)))
    else if (n.seq > last) this.catchUp()
  }

  /** Adds a notification that is new. */
  #take(n) {
    this.#counts.came(n)
    if (!this.#entries.has(n.id)) this.#entries.set(n.id, { isRead: false, isArchived: false, ...n })
    this.#tell(this.#listeners.notification, n)
  }

  /** Loads the first page, from which everything goes on. */
  async #first() {
    const [page, counts] = [await this.#requests.page(pageSize), await this.#requests.counts()]
    this.#set(() => {
      for (const e of page.notifications) this.#entries.set(e.id, e)
      this.#cursor = page.next_cursor
      for (const [stream, seq] of Object.entries(page.last)) if (!this.#last.has(stream)) this.#last.set(stream, seq)
      for (const stream of this.#last.keys()) if (!(stream in page.last)) this.#last.delete(stream)
      this.#counts.reset(counts)
      this.#loaded = true
    })
    if (!this.#closed && !this.#socket.connected) this.#socket.connect()
  }

  /** Counts were pushed: somebody has marked something, here or elsewhere. */
  #counted(counts) {
    if (!this.#loaded || !this.#counts.isNewer(counts)) return
    if ([...this.#last.keys()].some((stream) => !(stream in counts.last))) {
      // They are of a part of this inbox.
      this.#recount()
      return
    }
    this.#set(() => this.#counts.reset(counts))
    this.#refresh()
  }

  async #recount() {
    try {
      const counts = await this.#requests.counts()
      this.#set(() => this.#counts.isNewer(counts) && this.#counts.reset(counts))
      await this.#refresh()
    } catch {
      // They are counted again with the next change.
    }
  }

  /** Looks again at what is marked of the entries that are here. */
  async #refresh() {
    try {
      const marked = new Map()
      const last = {}
      let page
      let cursor
      do {
        page = await this.#requests.page(largestPage, cursor)
        Object.assign(last, cursor ? {} : page.last)
        for (const e of page.notifications) marked.set(e.id, e)
        cursor = page.next_cursor
      } while (cursor && this.#state.notifications.some((e) => at(e) < at(page.notifications.at(-1))))
      const oldest = cursor ? at(page.notifications.at(-1)) : -Infinity
      this.#set(() => {
        for (const e of [...this.#entries.values()]) {
          if (marked.has(e.id)) this.#entries.set(e.id, marked.get(e.id))
          else if (at(e) > oldest && e.seq <= (last[e.stream] ?? 0)) this.#entries.delete(e.id) // archived
        }
      })
    } catch {
      // The marks are looked at again with the next change.
    }
  }

  async #mark(id, as) {
    const entry = await this.#requests.mark(id, as)
    this.#set(() => {
      if (as === 'archive') this.#entries.delete(id)
      else if (this.#entries.has(id)) this.#entries.set(id, entry)
    })
    await this.#recount()
    return entry
  }

  async #markAll(as, change) {
    const counts = await this.#requests.markAll(as)
    this.#set(() => {
      for (const e of this.#entries.values()) {
        if (e.seq > (counts.last[e.stream] ?? 0)) continue // it came afterwards
        const changed = change(e)
        if (changed) this.#entries.set(e.id, changed)
        else this.#entries.delete(e.id)
      }
      if (this.#counts.isNewer(counts)) this.#counts.reset(counts)
    })
  }

  #looked = () => {
    if (this.#document.visibilityState !== 'visible') return
    if (this.#loaded && !this.#socket.connected && !this.#socket.active) this.#socket.connect()
    this.catchUp()
  }

  /** Asks now and then, while somebody looks, for what a lost push has told of. */
  #slowly() {
    this.#later(slowTimer * (0.75 + Math.random() / 2), () => {
      if (!this.#document || this.#document.visibilityState === 'visible') this.catchUp()
      this.#slowly()
    })
  }

  #failed(error, repeat) {
    this.#set(() => (this.#error = error))
    if (error?.status !== 403) this.#later(this.#wait(), repeat)
  }

  #wait() {
    return Math.min(longestWait, firstWait * 2 ** this.#failures++) * (0.5 + Math.random() / 2)
  }

  #later(milliseconds, act) {
    if (this.#closed) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      act()
    }, milliseconds)
    this.#timers.add(timer)
  }

  /** Changes something and tells of it. */
  #set(change) {
    change()
    this.#publish()
    this.#tell(this.#listeners.change)
  }

  /** Calls back; what one throws is its own, and keeps nobody from being told. */
  #tell(callbacks, ...what) {
    for (const callback of [...callbacks]) {
      try {
        callback(...what)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  #publish() {
    const entries = [...this.#entries.values()].sort((a, b) => at(b) - at(a) || b.seq - a.seq)
    this.#state = Object.freeze({
      notifications: Object.freeze(entries.filter((e) => !e.isArchived)),
      unread: this.#counts.unread,
      unseen: this.#counts.unseen,
      hasMore: Boolean(this.#cursor),
      loaded: this.#loaded,
      connected: this.#connected,
      error: this.#error,
    })
  }
}
