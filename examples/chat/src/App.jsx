import { useEffect, useState } from 'react'
import { Chat } from './Chat.jsx'
import { getToken, openSession } from './session.js'

export function App() {
  const [user, setUser] = useState(sessionStorage.getItem('user') ?? '')
  const [session, setSession] = useState(null)

  useEffect(() => {
    if (!user) return setSession(null)
    const opened = openSession(user)
    setSession(opened)
    return () => opened.close()
  }, [user])

  const enter = async (name) => {
    await getToken(name)
    sessionStorage.setItem('user', name)
    setUser(name)
  }
  const leave = () => {
    sessionStorage.removeItem('user')
    setUser('')
  }
  if (!user) return <Login enter={enter} />
  return session && <Chat session={session} leave={leave} />
}

function Login({ enter }) {
  const [refused, setRefused] = useState('')
  const submit = (event) => {
    event.preventDefault()
    const name = new FormData(event.target).get('name').trim()
    if (name) enter(name).catch((error) => setRefused(error.message))
  }
  return (
    <main className="login">
      <form onSubmit={submit}>
        <img src={`${import.meta.env.BASE_URL}icon.svg`} alt="" width="44" height="44" />
        <h1>Who are you?</h1>
        <p>Any name will do. Open a second window as somebody else, and talk.</p>
        <label htmlFor="name">Name</label>
        <input id="name" name="name" autoComplete="username" required maxLength={40} autoFocus />
        <button>Enter</button>
        {refused && <p className="error" role="alert">{refused}</p>}
      </form>
    </main>
  )
}
