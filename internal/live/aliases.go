package live

import (
	"context"
	"strings"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/socketio"
)

// The common tutorials of Socket.IO have names of their own for what is here.
// What clients send by those is taken as what it means. What clients hear is
// sent by them beside our own names, to those clients alone that have not shown
// that they know ours: whose page gives `last` when it connects, as docs/inbox.md
// tells and clients/js does, was written for Postrider. A tutorial's page may do
// nothing but listen, so that nothing else tells the two apart.

// aliased is the sockets' room of those who hear the aliases.
const aliased = "aliases"

// handleAliases sets what handles the events that mean what ours do.
func (h *Hub) handleAliases() {
	for name, handle := range map[string]func(context.Context, *socketio.Socket, socketio.Event){
		"registerUser": h.identify, "authenticate": h.identify,
		"joinRoom": h.join, "leaveRoom": h.leave,
		"sendNotification": h.sendNotification, "send_notification": h.sendNotification,
		"broadcastNotification": h.broadcastNotification,
		"sendRoomMessage":       h.sendRoomMessage, "sendMessage": h.sendMessage, "chatMessage": h.chatMessage, "chatHistory": h.chatHistory,
	} {
		h.sockets.Handle(name, handle)
	}
}

// notificationAliases are the other names by which a notification is pushed.
func notificationAliases(n inbox.Notification) []string {
	switch {
	case n.Stream == inbox.Everyone && n.Type == "system":
		return []string{"receiveNotification", "server_announcement"}
	case n.Stream == inbox.Everyone:
		return []string{"receiveNotification", "global_notification"}
	case strings.HasPrefix(n.Stream, inbox.OfRoom("")):
		return []string{"receiveNotification", "room_notification"}
	case n.Type == "message":
		return []string{"receiveNotification", "receiveMessage"}
	default:
		return []string{"receiveNotification"}
	}
}
