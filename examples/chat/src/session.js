// Who chats: one connection for the rooms and for the inbox.
import { Inbox } from '@postrider/client'
import { io } from 'socket.io-client'
import { Rooms } from './rooms.js'

export const rooms = ['lobby', 'team', 'random']

// A page of yours would ask its own application for a token. /dev/token gives
// one to whoever develops, and is nowhere else.
export async function getToken(user) {
  const query = new URLSearchParams([['user', user], ...rooms.map((room) => ['room', room])])
  const answer = await fetch(`/dev/token?${query}`)
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `the answer is ${answer.status}`)
  return (await answer.json()).token
}

export function openSession(user) {
  let socket
  const inbox = new Inbox({
    url: location.origin,
    userId: user,
    getToken: () => getToken(user),
    socket: (auth) => (socket = io({ auth, autoConnect: false })),
  })
  inbox.open()
  const chat = new Rooms(socket, user, rooms)
  return {
    user,
    inbox,
    chat,
    close() {
      chat.close()
      inbox.close()
    },
  }
}
