// Package socketio serves the Socket.IO protocol, revision 5, over Engine.IO,
// revision 4, and nothing else.
package socketio
