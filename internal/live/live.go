// Package live knows who is connected: rooms, presence, and the fan-out of
// notifications and messages between api processes.
package live
