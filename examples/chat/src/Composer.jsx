import { useEffect, useState } from 'react'

const idle = 3_000 // milliseconds without a key, after which nobody types

export function Composer({ room, say, typing }) {
  const [text, setText] = useState('')

  useEffect(() => {
    if (!text) return undefined
    const timer = setTimeout(() => typing(false), idle)
    return () => clearTimeout(timer)
  }, [text])

  const changed = (event) => {
    setText(event.target.value)
    typing(event.target.value !== '')
  }
  const submit = (event) => {
    event.preventDefault()
    if (!text.trim()) return
    say(text.trim())
    setText('')
  }
  const key = (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) submit(event)
  }
  return (
    <form className="composer" onSubmit={submit}>
      <label className="hidden" htmlFor="text">Message to {room}</label>
      <textarea id="text" rows={1} maxLength={4000} placeholder={`Message to ${room}`} value={text} onChange={changed} onKeyDown={key} autoFocus />
      <button disabled={!text.trim()}>Send</button>
    </form>
  )
}
