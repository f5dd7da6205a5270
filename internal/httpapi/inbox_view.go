package httpapi

import (
	"encoding/json"
	"strings"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// notificationView is a notification as the API shows it, with the names that
// front ends of this kind mostly have.
type notificationView struct {
	ID         job.ID          `json:"id" example:"0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70"`
	Stream     string          `json:"stream" example:"user:42" doc:"user:ID, room:NAME or everyone"`
	Seq        int64           `json:"seq" example:"17" doc:"its place in the stream: from 1, without gaps"`
	ReceiverID string          `json:"receiverId,omitempty" example:"42" doc:"the user that it is for"`
	Room       string          `json:"room,omitempty" doc:"the room that it is for; it is for everyone where both are missing"`
	Type       string          `json:"type" enum:"info,success,warning,error,message,system"`
	Message    string          `json:"message" example:"Your order has been shipped."`
	Data       json.RawMessage `json:"data,omitempty" doc:"any JSON value"`
	Timestamp  stamp           `json:"timestamp"`
}

// entryView is a notification as one user has it.
type entryView struct {
	notificationView
	IsRead     bool `json:"isRead"`
	IsArchived bool `json:"isArchived"`
}

func showNotification(n inbox.Notification) notificationView {
	v := notificationView{ID: n.ID, Stream: n.Stream, Seq: n.Seq, Type: n.Type, Message: n.Message, Data: n.Data, Timestamp: stamp{n.CreatedAt}}
	if user, ok := strings.CutPrefix(n.Stream, inbox.Of("")); ok {
		v.ReceiverID = user
	}
	if room, ok := strings.CutPrefix(n.Stream, inbox.OfRoom("")); ok {
		v.Room = room
	}
	return v
}

func showEntry(e inbox.Entry) entryView {
	return entryView{showNotification(e.Notification), e.Read, e.Archived}
}

// countsView is how much of an inbox is new.
type countsView struct {
	Count   int64            `json:"count" doc:"notifications that are not read"`
	Unseen  int64            `json:"unseen" doc:"of these, those that came since the inbox was last looked at"`
	Version int64            `json:"version" doc:"rises with each change of what is read: of two answers the one with the higher version is later"`
	Last    map[string]int64 `json:"last" doc:"the sequence up to which each stream of the inbox is counted"`
}

func showCounts(c inbox.Counts) countsView {
	return countsView{c.Unread, c.Unseen, c.Version, c.Last}
}

type inboxPage struct {
	XCache
	Body written[inboxPageView]
}

type inboxPageView struct {
	Notifications []entryView      `json:"notifications" nullable:"false" doc:"newest first"`
	NextCursor    string           `json:"next_cursor,omitempty" doc:"asks for the page after this one; none is left where it is missing"`
	Unread        int64            `json:"unread" doc:"how many notifications of the inbox are not read"`
	Last          map[string]int64 `json:"last" doc:"the sequence of each stream before the page was read: what follows is asked for by after"`
}

func showPage(page inbox.Page) inboxPageView {
	v := inboxPageView{Notifications: make([]entryView, len(page.Entries)), Unread: page.Counts.Unread, Last: page.Counts.Last}
	for i, e := range page.Entries {
		v.Notifications[i] = showEntry(e)
	}
	if page.Next != nil {
		v.NextCursor = page.Next.String()
	}
	return v
}

type stretchView struct {
	Stream        string             `json:"stream" example:"user:42"`
	Notifications []notificationView `json:"notifications" nullable:"false" doc:"oldest first"`
	Through       int64              `json:"through" example:"17" doc:"all up to this sequence that is still kept has been told now: go on from here. It is less than was asked for where the stream has begun anew, after an erasure"`
	More          bool               `json:"more" doc:"there is more behind it: ask again at once"`
}

type inboxAfter struct {
	Body struct {
		Streams []stretchView `json:"streams" nullable:"false" doc:"in the order in which they were asked for"`
	}
}

type inboxCounts struct {
	Body countsView
}

// inboxCounted is inboxCounts as it may have been kept.
type inboxCounted struct {
	XCache
	Body written[countsView]
}

type inboxEntry struct {
	Body entryView
}
