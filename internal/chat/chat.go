// Package chat keeps the messages of rooms: in Redis streams while they are
// young, in SQL once the archive has taken them, read as one history.
package chat
