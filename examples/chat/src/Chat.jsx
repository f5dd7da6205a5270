import { useInbox } from '@postrider/client/react'
import { useEffect, useState, useSyncExternalStore } from 'react'
import { Composer } from './Composer.jsx'
import { Messages } from './Messages.jsx'
import { rooms } from './session.js'

export function Chat({ session, leave }) {
  const { user, chat, inbox } = session
  const state = useSyncExternalStore(chat.subscribe, chat.getState)
  const { unread, connected } = useInbox(inbox)
  const [room, setRoom] = useState(sessionStorage.getItem('room') ?? rooms[0])
  const { messages, cursor, users, typing, fresh, error } = state[room]

  useEffect(() => {
    sessionStorage.setItem('room', room)
    chat.look(room)
  }, [chat, room, fresh])

  return (
    <div className="chat">
      <nav aria-label="Rooms">
        <h1>Postrider chat</h1>
        <ul>
          {rooms.map((name) => (
            <li key={name}>
              <button type="button" aria-current={name === room ? 'page' : undefined} onClick={() => setRoom(name)}>
                <span># {name}</span>
                {state[name].fresh > 0 && name !== room && <span className="fresh" aria-label={`${state[name].fresh} new`}>{state[name].fresh}</span>}
              </button>
            </li>
          ))}
        </ul>
        <p className="me">
          <Face user={user} />
          <span className="name">{user}</span>
          <button type="button" className="quiet" onClick={leave}>Leave</button>
        </p>
      </nav>
      <main>
        <header>
          <h2># {room}</h2>
          <ul className="present" aria-label="Who is here">
            {users.slice(0, 6).map((u) => <li key={u}><Face user={u} /></li>)}
            {users.length > 6 && <li className="others">+{users.length - 6}</li>}
          </ul>
          <p className={connected ? 'status live' : 'status'} role="status">{connected ? 'live' : 'offline, trying again'}</p>
          <p className="bell" title="Unread notifications">
            <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 3a6 6 0 0 0-6 6v4l-2 3v1h16v-1l-2-3V9a6 6 0 0 0-6-6Zm-2.5 16a2.5 2.5 0 0 0 5 0Z" /></svg>
            <span className="hidden">Unread notifications: </span><span id="unread">{unread}</span>
          </p>
        </header>
        {error && <p className="error" role="alert">{error}</p>}
        <Messages key={room} user={user} messages={messages} older={cursor ? () => chat.older(room) : null} retry={(m) => chat.retry(m)} />
        <p className="typing" role="status">{sentence(typing)}</p>
        <Composer key={`to ${room}`} room={room} say={(text) => chat.say(room, text)} typing={(on) => chat.typing(room, on)} />
      </main>
    </div>
  )
}

function sentence(typing) {
  if (typing.length === 0) return ''
  if (typing.length > 2) return 'Several people are typing …'
  return `${typing.join(' and ')} ${typing.length > 1 ? 'are' : 'is'} typing …`
}

/** A disc of a colour of the user's own. */
export function Face({ user }) {
  const hue = [...user].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 12, 7)
  return <span className={`face hue-${hue}`} role="img" aria-label={user} title={user}>{[...user][0].toUpperCase()}</span>
}
