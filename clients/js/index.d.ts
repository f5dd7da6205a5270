import type { Inbox, InboxOptions } from './inbox.js'

export * from './inbox.js'

/** Opens a user's inbox at a Postrider and keeps it up to date until close(). */
export function openInbox(url: string, options: InboxOptions): Inbox
