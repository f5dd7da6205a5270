// What an application in TypeScript writes; it is checked and never run.
import { openInbox, type Entry, type InboxState, type Notification } from '@postrider/client'
import { Inbox } from '@postrider/client/inbox'
import { useInbox } from '@postrider/client/react'
import { io } from 'socket.io-client'

const inbox: Inbox = openInbox('https://post.example.com', {
  userId: '42',
  getToken: async ({ refresh }) => (await fetch('/token', { cache: refresh ? 'reload' : 'default' })).text(),
  socketOptions: { transports: ['websocket'] },
})

// A socket of the page's own, as socket.io-client makes it.
const other = new Inbox({
  url: 'https://post.example.com',
  userId: '42',
  getToken: () => 'token',
  socket: (auth) => io({ auth, autoConnect: false }),
})
other.open()

const end: () => void = inbox.onNotification((n: Notification) => console.log(n.seq + 1, n.message.trim(), n.data))
inbox.subscribe(() => {
  const state: InboxState = inbox.getState()
  const [first]: readonly Entry[] = state.notifications
  console.log(state.unread + state.unseen, first?.isRead, state.error?.message)
})

export function Bell(): string {
  const { unread, connected } = useInbox(inbox)
  return connected ? String(unread) : 'offline'
}

export async function readAll(): Promise<void> {
  const entry: Entry = await inbox.read('id')
  const more: boolean = await inbox.more()
  await inbox.readAll()
  console.log(entry.isArchived, more)
  end()
  inbox.close()
}

// @ts-expect-error a user is needed
openInbox('https://post.example.com', { getToken: () => 'token' })
// @ts-expect-error there is no such type
export const wrong: Notification['type'] = 'urgent'
// @ts-expect-error the state is not to be written to
inbox.getState().unread = 0
