// How much is new: counts as of certain sequences, and what came beyond them.
export class Counts {
  #base = { count: 0, unseen: 0, version: -1, last: {} }
  #beyond = [] // notifications that came since

  /** Whether counts are later than these. */
  isNewer(counts) {
    if (counts.version !== this.#base.version) return counts.version > this.#base.version
    return Object.entries(counts.last).some(([stream, seq]) => seq > (this.#base.last[stream] ?? 0))
  }

  /** Goes on from these. */
  reset(counts) {
    this.#base = counts
    this.#beyond = this.#beyond.filter((n) => this.#isBeyond(n))
  }

  /** Notes a notification. */
  came({ stream, seq }) {
    if (this.#isBeyond({ stream, seq })) this.#beyond.push({ stream, seq })
  }

  get unread() {
    return this.#base.count + this.#beyond.length
  }

  get unseen() {
    return this.#base.unseen + this.#beyond.length
  }

  #isBeyond({ stream, seq }) {
    return seq > (this.#base.last[stream] ?? 0)
  }
}
