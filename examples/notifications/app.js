// An inbox in a page, by Postrider's client for browsers: what came while nobody
// was connected is here, nothing is lost and nothing is shown twice.
import { Inbox } from '/clients/js/inbox.js'

const $ = (id) => document.getElementById(id)
const room = 'team'
let inbox

// A page of yours would ask its own application for a token. /dev/token gives
// one to whoever develops, and is nowhere else.
async function getToken(user) {
  const answer = await fetch(`/dev/token?user=${encodeURIComponent(user)}&room=${room}`)
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `the answer is ${answer.status}`)
  return (await answer.json()).token
}

function enter(user) {
  inbox = new Inbox({
    url: location.origin,
    userId: user,
    getToken: () => getToken(user),
    socket: (auth) => globalThis.io({ auth, autoConnect: false }),
  })
  inbox.subscribe(render)
  inbox.onNotification(toast)
  inbox.open()
  sessionStorage.setItem('user', user)
  document.body.dataset.user = user
  $('login').hidden = true
  $('board').hidden = $('account').hidden = false
  $('leave').textContent = `Leave, ${user}`
  $('receiver').focus()
  render()
}

function leave() {
  inbox.close()
  sessionStorage.removeItem('user')
  location.reload()
}

// Sending is what your application's server does, with an API key. Here the API
// is open to this machine.
async function send(event) {
  event.preventDefault()
  const to = new FormData($('compose')).get('to')
  const delay = Number($('delay').value)
  const body = {
    ...{ user: { receiverId: $('receiver').value.trim() }, room: { room }, everyone: { everyone: true } }[to],
    message: $('message').value,
    type: $('type').value,
    data: { from: document.body.dataset.user },
    ...(delay > 0 && { delay }),
  }
  const answer = await fetch(delay > 0 ? '/jobs/send-notification' : '/api/notifications', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID() },
    body: JSON.stringify(body),
  }).catch((error) => ({ ok: false, json: () => ({ detail: error.message }) }))
  const told = await answer.json()
  $('sent').className = answer.ok ? '' : 'error'
  $('sent').textContent = answer.ok ? (delay > 0 ? told.message : 'Sent.') : `Not sent: ${told.errors?.[0] ? `${told.errors[0].field} ${told.errors[0].message}` : told.detail}`
  if (answer.ok) $('message').value = ''
}

const times = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

function ago(timestamp) {
  const seconds = Math.min(0, Math.round((Date.parse(timestamp) - Date.now()) / 1000))
  if (seconds > -10) return 'just now'
  if (seconds > -60) return times.format(seconds, 'second')
  if (seconds > -3600) return times.format(Math.ceil(seconds / 60), 'minute')
  if (seconds > -86400) return times.format(Math.ceil(seconds / 3600), 'hour')
  return new Date(timestamp).toLocaleDateString()
}

const where = (n) => (n.stream === 'everyone' ? 'to everyone' : n.stream.startsWith('room:') ? `to the ${n.stream.slice(5)}` : '')

/** Makes an element: its class, and its text or what is in it. */
function make(tag, name, ...content) {
  const e = document.createElement(tag)
  e.className = name
  e.append(...content)
  return e
}

function describe(n) {
  const time = make('time', '', ago(n.timestamp))
  time.dateTime = n.timestamp
  const about = [n.data?.from && `from ${n.data.from}`, where(n)].filter(Boolean).join(' ')
  return make('div', 'what', make('p', 'text', n.message), make('p', 'about', make('span', 'kind', n.type), about && ` ${about}`, ' · ', time))
}

function button(label, text, act) {
  const b = make('button', 'quiet', text)
  b.type = 'button'
  b.setAttribute('aria-label', label)
  b.addEventListener('click', act)
  return b
}

function item(n) {
  const buttons = make('div', 'buttons')
  if (!n.isRead) buttons.append(button(`Mark as read: ${n.message}`, 'Read', () => tell(inbox.read(n.id))))
  buttons.append(button(`Archive: ${n.message}`, 'Archive', () => tell(inbox.archive(n.id))))
  const li = make('li', `item ${n.type}${n.isRead ? '' : ' unread'}`, describe(n), buttons)
  li.dataset.id = n.id
  return li
}

/** Shows what went wrong with something that was asked for. */
function tell(asked) {
  asked.catch((error) => {
    $('sent').className = 'error'
    $('sent').textContent = error.message
  })
}

function render() {
  const { notifications, unread, connected, loaded, hasMore } = inbox.getState()
  $('unread').textContent = unread > 99 ? '99+' : unread
  $('unread').dataset.count = unread
  document.title = unread > 0 ? `(${unread}) Notifications – Postrider` : 'Notifications – Postrider'
  $('status').textContent = connected ? 'live' : loaded ? 'offline, trying again' : 'connecting'
  $('status').className = connected ? 'live' : ''
  const focused = document.activeElement?.closest?.('.item')?.dataset.id
  $('list').replaceChildren(...notifications.map(item))
  if (focused) $('list').querySelector(`[data-id="${CSS.escape(focused)}"] button`)?.focus()
  $('empty').hidden = notifications.length > 0
  $('read-all').disabled = unread === 0
  $('more').hidden = !hasMore
}

function toast(n) {
  const t = make('div', `toast ${n.type}`, describe(n))
  $('toasts').append(t)
  if ($('toasts').childElementCount > 4) $('toasts').firstChild.remove()
  setTimeout(() => t.remove(), 6000)
}

$('login').addEventListener('submit', async (event) => {
  event.preventDefault()
  const user = $('name').value.trim()
  $('refused').textContent = ''
  try {
    if (!globalThis.io) throw new Error('The official client is missing: run `make clients`, then load this page again.')
    await getToken(user)
    enter(user)
  } catch (error) {
    $('refused').textContent = error.message
  }
})
$('leave').addEventListener('click', leave)
$('compose').addEventListener('submit', send)
$('compose').addEventListener('change', () => {
  const toUser = new FormData($('compose')).get('to') === 'user'
  $('receiver-field').hidden = !toUser
  $('receiver').required = toUser
})
$('read-all').addEventListener('click', () => tell(inbox.readAll()))
$('more').addEventListener('click', () => tell(inbox.more()))
$('bell').addEventListener('click', () => {
  const open = $('inbox').hidden
  $('inbox').hidden = !open
  $('bell').setAttribute('aria-expanded', String(open))
  if (open) tell(inbox.seen())
})
setInterval(() => inbox && render(), 30_000) // the times get older

const user = sessionStorage.getItem('user')
if (user && globalThis.io) enter(user)
