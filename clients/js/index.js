// The entry for applications: an inbox over socket.io-client.
import { io } from 'socket.io-client'
import { Inbox } from './inbox.js'

export { Inbox }

/**
 * Opens a user's inbox at a Postrider and keeps it up to date until close().
 * See index.d.ts for the options.
 */
export function openInbox(url, options) {
  const inbox = new Inbox({ ...options, url, socket: (auth) => io(url, { auth, autoConnect: false, ...options.socketOptions }) })
  inbox.open()
  return inbox
}
