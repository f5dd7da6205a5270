import { useLayoutEffect, useRef, useState } from 'react'
import { Face } from './Chat.jsx'

const near = 120 // pixels from the end, within which the view follows it
const together = 5 * 60_000 // milliseconds between messages under one name

export function Messages({ user, messages, older, retry }) {
  const list = useRef(null)
  const view = useRef({ first: null, height: 0, follow: true })
  const [loading, setLoading] = useState(false)
  const first = messages[0]?.id

  // The view stays where it is when older messages come above it, and at the
  // end where it was there.
  useLayoutEffect(() => {
    const { current: box } = list
    const { current: was } = view
    if (was.follow) box.scrollTop = box.scrollHeight
    else if (first !== was.first) box.scrollTop += box.scrollHeight - was.height
    view.current = { ...was, first, height: box.scrollHeight }
  }, [messages, first])

  const scrolled = () => {
    const { current: box } = list
    view.current.follow = box.scrollHeight - box.scrollTop - box.clientHeight < near
  }
  const load = async () => {
    setLoading(true)
    view.current.follow = false
    await older()
    setLoading(false)
  }
  return (
    <div className="messages" ref={list} onScroll={scrolled} tabIndex={0} role="log" aria-label="Messages">
      {older ? (
        <button type="button" className="quiet older" disabled={loading} onClick={load}>Older messages</button>
      ) : (
        <p className="begin">{messages.length > 0 ? 'This is where it began.' : 'Nobody has said anything yet.'}</p>
      )}
      <ol>
        {messages.map((m, i) => (
          <Message key={m.clientId ? `${m.userId} ${m.clientId}` : m.id} message={m} own={m.userId === user} follows={follows(messages[i - 1], m)} retry={() => retry(m)} />
        ))}
      </ol>
    </div>
  )
}

const follows = (before, m) => before?.userId === m.userId && Date.parse(m.timestamp) - Date.parse(before.timestamp) < together

function Message({ message: m, own, follows, retry }) {
  const time = new Date(m.timestamp)
  return (
    <li className={['message', own && 'own', follows && 'follows', m.pending && 'pending', m.failed && 'failed'].filter(Boolean).join(' ')}>
      {!follows && <Face user={m.userId} />}
      {!follows && (
        <p className="head">
          <strong>{m.userId}</strong> <time dateTime={m.timestamp}>{time.toLocaleTimeString([], { hour: 'numeric', minute: '2-digit' })}</time>
        </p>
      )}
      <p className="text">{m.text}</p>
      {m.failed && (
        <p className="error">
          Not sent: {m.failed}. <button type="button" className="quiet" onClick={retry}>Try again</button>
        </p>
      )}
      {m.pending && <span className="hidden">being sent</span>}
    </li>
  )
}
