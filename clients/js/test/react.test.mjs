import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { openInbox } from '../index.js'
import { useInbox } from '../react.js'

test('a component shows what there is', (t) => {
  const inbox = openInbox('http://127.0.0.1:1', { userId: '42', getToken: () => 'x', fetch: () => new Promise(() => {}) })
  t.after(() => inbox.close())
  const Bell = () => {
    const { unread, loaded } = useInbox(inbox)
    return createElement('b', null, `${unread} ${loaded}`)
  }
  assert.equal(renderToString(createElement(Bell)), '<b>0 false</b>')
})
