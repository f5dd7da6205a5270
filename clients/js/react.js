// A React hook over an inbox.
import { useSyncExternalStore } from 'react'

/** The state of an inbox; the component renders anew when it changes. */
export function useInbox(inbox) {
  return useSyncExternalStore(inbox.subscribe, inbox.getState, inbox.getState)
}
