import type { Inbox, InboxState } from './inbox.js'

/** The state of an inbox; the component renders anew when it changes. */
export function useInbox(inbox: Inbox): InboxState
