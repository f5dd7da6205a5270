// What the inbox asks over HTTP.

/** An answer that is not a success. */
export class HTTPError extends Error {
  constructor(status, problem) {
    super(problem?.detail || `the answer is ${status}`)
    this.name = 'HTTPError'
    this.status = status
    this.code = problem?.code
  }
}

const patience = 15_000 // milliseconds that a request may take

/** Requests with a token, which is asked for anew when it was refused. */
export class Requests {
  constructor({ url, userId, token, fetch }) {
    this.base = `${url.replace(/\/+$/, '')}/api/notifications`
    this.user = encodeURIComponent(userId)
    this.token = token
    this.fetch = fetch
  }

  page(limit, cursor) {
    return this.ask('GET', `/${this.user}?limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`)
  }

  after(positions) {
    const query = positions.map(([stream, seq]) => `last=${encodeURIComponent(`${stream}:${seq}`)}`)
    return this.ask('GET', `/${this.user}/after?${query.join('&')}`)
  }

  counts() {
    return this.ask('GET', `/${this.user}/unread-count`)
  }

  mark(id, as) {
    return this.ask('PUT', `/${encodeURIComponent(id)}/${as}`)
  }

  markAll(as) {
    return this.ask('PUT', `/${this.user}/${as}`)
  }

  async ask(method, path, again = false) {
    const token = await this.token(again)
    const answer = await this.fetch(this.base + path, {
      method,
      headers: { Authorization: `Bearer ${token}`, Accept: 'application/json' },
      signal: AbortSignal.timeout(patience),
    })
    if (answer.status === 401 && !again) return this.ask(method, path, true)
    const body = await answer.json().catch(() => undefined)
    if (!answer.ok) throw new HTTPError(answer.status, body)
    return body
  }
}
