/** A notification, as it comes. */
export interface Notification {
  id: string
  /** `user:ID`, `room:NAME` or `everyone`. */
  stream: string
  /** Its place in the stream: from 1, without gaps. */
  seq: number
  type: 'info' | 'success' | 'warning' | 'error' | 'message' | 'system'
  message: string
  data?: unknown
  /** RFC 3339, UTC. */
  timestamp: string
}

/** A notification as the user has it. */
export interface Entry extends Notification {
  isRead: boolean
  isArchived: boolean
}

export interface InboxState {
  /** Newest first, without what is archived. */
  readonly notifications: readonly Entry[]
  /** How many of the whole inbox are not read. */
  readonly unread: number
  /** How many came since the inbox was last looked at. */
  readonly unseen: number
  /** There are older ones: see Inbox.more. */
  readonly hasMore: boolean
  /** The first page is here. */
  readonly loaded: boolean
  readonly connected: boolean
  /** What went wrong last and is being repeated. */
  readonly error: Error | null
}

export interface InboxOptions {
  /** Whose inbox it is: the user of the token. */
  userId: string
  /** Returns a token (JWT); with refresh a fresh one, since the last was refused or is over. */
  getToken(how: { refresh: boolean }): string | Promise<string>
  /** Options of socket.io-client beside those that are set here. */
  socketOptions?: Record<string, unknown>
  /** Instead of the global ones, for tests. */
  fetch?: typeof fetch
  document?: Pick<Document, 'visibilityState' | 'addEventListener' | 'removeEventListener'>
}

/** What an inbox needs of a socket.io-client's Socket. */
export interface SocketLike {
  readonly connected: boolean
  /** It is connected, or tries to. */
  readonly active: boolean
  on(event: string, callback: (...args: any[]) => void): unknown
  connect(): unknown
  disconnect(): unknown
}

/** An inbox that loses nothing and shows nothing twice. */
export class Inbox {
  constructor(
    options: Omit<InboxOptions, 'socketOptions'> & {
      /** The Postrider's address. */
      url: string
      /** Makes a socket that does not connect yet, and asks auth for what to send when it does. */
      socket(auth: (give: (credentials: object) => void) => void): SocketLike
    },
  )
  /** Loads the inbox and connects; openInbox has done so. */
  open(): void
  /** Ends everything. */
  close(): void
  /** Calls back with each new notification, in the order of its stream; returns what ends that. */
  onNotification(callback: (n: Notification) => void): () => void
  /** Calls back when getState() has changed; returns what ends that. */
  subscribe: (callback: () => void) => () => void
  /** What there is now; the same object until something changes. */
  getState: () => InboxState
  /** Loads older entries; whether there are more after them. */
  more(): Promise<boolean>
  read(id: string): Promise<Entry>
  archive(id: string): Promise<Entry>
  readAll(): Promise<void>
  archiveAll(): Promise<void>
  /** Notes that the user has looked at the inbox. */
  seen(): Promise<void>
  /** Asks for what came since, which happens by itself. */
  catchUp(): Promise<void>
}
