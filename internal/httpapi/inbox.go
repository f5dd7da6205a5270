package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// RoomsQuery names rooms; huma looks into exported fields only.
type RoomsQuery struct {
	Rooms []string `query:"room,explode" maxItems:"500" doc:"the rooms that belong to the inbox. With a token they are those that it lists, or some of these, and others that the user may be in"`
}

// viewer is whose inbox is asked for: with an API key anybody's, with a token
// its own.
func (a *api) viewer(ctx context.Context, q RoomsQuery, user string) (inbox.Viewer, error) {
	if who, _ := auth.From(ctx); who.User != nil {
		return a.ownInbox(ctx, q, *who.User, user)
	}
	var bad tasks.Invalid
	for field, names := range map[string][]string{"userId": {user}, "room": q.Rooms} {
		for _, name := range names {
			if name == "" || len(name) > tasks.MaxStreamName || strings.ContainsFunc(name, unicode.IsControl) {
				bad.Add(field, fmt.Sprintf("must have 1 to %d bytes without control characters", tasks.MaxStreamName))
				break
			}
		}
	}
	if err := bad.OrNil(); err != nil {
		return inbox.Viewer{}, job.Invalid(err)
	}
	return inbox.Viewer{User: user, Rooms: q.Rooms}, nil
}

// maxRoomsAsked bounds the rooms of one request that are not in its token: about
// each of them the application may have to be asked.
const maxRoomsAsked = 20

// ownInbox is the inbox of a token's user.
func (a *api) ownInbox(ctx context.Context, q RoomsQuery, who auth.Identity, user string) (inbox.Viewer, error) {
	if user != who.ID {
		return inbox.Viewer{}, job.Errorf(job.CodeForbidden, "a token opens its own user's inbox only")
	}
	if len(q.Rooms) == 0 {
		return inbox.Viewer{User: user, Rooms: who.Rooms}, nil
	}
	asked := 0
	for _, room := range q.Rooms {
		if slices.Contains(who.Rooms, room) {
			continue
		}
		if asked++; asked > maxRoomsAsked {
			return inbox.Viewer{}, job.Errorf(job.CodeForbidden, "there are more than %d rooms that the token does not list", maxRoomsAsked)
		}
		if err := a.checkRoom(ctx, who, room); err != nil {
			return inbox.Viewer{}, err
		}
	}
	return inbox.Viewer{User: user, Rooms: q.Rooms}, nil
}

// checkRoom refuses a user who may not be in a room.
func (a *api) checkRoom(ctx context.Context, who auth.Identity, room string) error {
	if room == "" || len(room) > tasks.MaxStreamName || strings.ContainsFunc(room, unicode.IsControl) {
		return job.Errorf(job.CodeForbidden, "there is no room of that name")
	}
	ok, err := a.mayEnter(ctx, who, room)
	if err != nil {
		return job.Wrap(job.CodeTemporary, err, "it cannot be told now whether the user may be in a room")
	}
	if !ok {
		return job.Errorf(job.CodeForbidden, "the user may not be in the room %q", clipped(room))
	}
	return nil
}

type inboxListInput struct {
	RoomsQuery
	UserID   string `path:"userId" example:"42"`
	Unread   bool   `query:"unread" doc:"only what is not read"`
	Archived bool   `query:"archived" doc:"only what is archived, which is left out otherwise"`
	Limit    int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor   string `query:"cursor" doc:"next_cursor of the page before"`
}

func (a *api) listInbox(ctx context.Context, in *inboxListInput) (*inboxPage, error) {
	v, err := a.viewer(ctx, in.RoomsQuery, in.UserID)
	if err != nil {
		return nil, err
	}
	which, before := inbox.Current, inbox.Newest
	switch {
	case in.Unread && in.Archived:
		return nil, job.Invalid(tasks.Invalid{{Field: "archived", Problem: "what is archived is read: ask for unread or archived ones"}})
	case in.Unread:
		which = inbox.OnlyUnread
	case in.Archived:
		which = inbox.OnlyArchived
	}
	if in.Cursor != "" {
		if before, err = inbox.ParseCursor(in.Cursor); err != nil {
			return nil, job.Invalid(tasks.Invalid{{Field: "cursor", Problem: "is not one that a page before gave"}})
		}
	}
	list := func(ctx context.Context) (string, error) {
		page, err := a.inbox.List(ctx, v, which, before, in.Limit)
		if err != nil {
			return "", err
		}
		return textOf(showPage(page))
	}
	out := &inboxPage{}
	if in.Cursor != "" { // who goes on to it has not been there before
		text, err := list(ctx)
		out.Body = written[inboxPageView](text)
		return out, err
	}
	text, from, err := a.ofInbox(ctx, v, fmt.Sprintf("list %q %d", which, in.Limit), list)
	out.From, out.Body = from, written[inboxPageView](text)
	return out, err
}

type inboxAfterInput struct {
	RoomsQuery
	UserID string   `path:"userId" example:"42"`
	Last   []string `query:"last,explode" required:"true" minItems:"1" maxItems:"502" example:"user:42:17" doc:"a stream and the last of its sequences that is known, with a colon between; once for each stream"`
}

func (a *api) inboxAfter(ctx context.Context, in *inboxAfterInput) (*inboxAfter, error) {
	v, err := a.viewer(ctx, in.RoomsQuery, in.UserID)
	if err != nil {
		return nil, err
	}
	positions := make([]inbox.Position, len(in.Last))
	for i, last := range in.Last {
		cut := max(strings.LastIndexByte(last, ':'), 0)
		seq, err := strconv.ParseInt(strings.TrimPrefix(last[cut:], ":"), 10, 64)
		if err != nil || seq < 0 {
			return nil, job.Invalid(tasks.Invalid{{Field: fmt.Sprintf("last[%d]", i), Problem: "must read stream:sequence, such as user:42:17"}})
		}
		positions[i] = inbox.Position{Stream: last[:cut], Seq: seq}
	}
	found, err := a.inbox.After(ctx, v, positions)
	if err != nil {
		return nil, err
	}
	out := &inboxAfter{}
	out.Body.Streams = make([]stretchView, len(found))
	for i, s := range found {
		view := stretchView{s.Stream, make([]notificationView, len(s.Notifications)), s.Through, s.More}
		for k, n := range s.Notifications {
			view.Notifications[k] = showNotification(n)
		}
		out.Body.Streams[i] = view
	}
	return out, nil
}

type inboxInput struct {
	RoomsQuery
	UserID string `path:"userId" example:"42"`
}

func (a *api) countInbox(ctx context.Context, in *inboxInput) (*inboxCounted, error) {
	v, err := a.viewer(ctx, in.RoomsQuery, in.UserID)
	if err != nil {
		return nil, err
	}
	text, from, err := a.ofInbox(ctx, v, "count", func(ctx context.Context) (string, error) {
		c, err := a.inbox.Counts(ctx, v)
		if err != nil {
			return "", err
		}
		return textOf(showCounts(c))
	})
	return &inboxCounted{XCache{from}, written[countsView](text)}, err
}

// ofInbox is an answer about an inbox, which what names. The viewer, whom the
// caller may look for, is in the key: nobody gets what is another's.
func (a *api) ofInbox(ctx context.Context, v inbox.Viewer, what string, fill func(context.Context) (string, error)) (string, cache.Status, error) {
	key := fmt.Sprintf("%s %q %q", what, v.User, v.Rooms)
	return a.inboxAnswers.Get(ctx, key, append(v.Streams(), inbox.Inboxes), fill)
}

// markInbox marks all.
func (a *api) markInbox(as inbox.Mark) func(context.Context, *inboxInput) (*inboxCounts, error) {
	return func(ctx context.Context, in *inboxInput) (*inboxCounts, error) {
		v, err := a.viewer(ctx, in.RoomsQuery, in.UserID)
		if err != nil {
			return nil, err
		}
		c, err := a.inbox.MarkAll(ctx, v, as)
		if err != nil {
			return nil, err
		}
		return &inboxCounts{showCounts(c)}, nil
	}
}

type markInput struct {
	RoomsQuery
	ID     string `path:"id" doc:"the notification"`
	UserID string `query:"userId" example:"42" doc:"whose inbox it is in; needed with an API key, and otherwise the token's user"`
}

// markNotification marks one.
func (a *api) markNotification(as inbox.Mark) func(context.Context, *markInput) (*inboxEntry, error) {
	return func(ctx context.Context, in *markInput) (*inboxEntry, error) {
		if who, _ := auth.From(ctx); in.UserID == "" && who.User != nil {
			in.UserID = who.User.ID
		}
		v, err := a.viewer(ctx, in.RoomsQuery, in.UserID)
		if err != nil {
			return nil, err
		}
		id, err := job.ParseID(in.ID)
		if err != nil {
			return nil, job.Errorf(job.CodeNotFound, "the inbox has no such notification")
		}
		entry, _, err := a.inbox.Mark(ctx, v, id, as)
		if err != nil {
			return nil, err
		}
		return &inboxEntry{showEntry(entry)}, nil
	}
}

// postNotificationRequest is the body of POST /api/notifications.
type postNotificationRequest struct {
	ReceiverID string `json:"receiverId,omitempty" example:"42" doc:"the user it is for; exactly one of receiverId, room and everyone must be given"`
	Room       string `json:"room,omitempty" doc:"the room it is for"`
	Everyone   bool   `json:"everyone,omitempty" doc:"it is for everyone"`

	Message string          `json:"message" example:"Ann has answered you." doc:"up to 10,000 bytes"`
	Type    string          `json:"type,omitempty" enum:"info,success,warning,error,message,system" doc:"info when left out"`
	Data    json.RawMessage `json:"data,omitempty" doc:"any JSON value, handed through; up to 64,000 bytes"`
}

type postNotificationInput struct {
	Key     string `header:"Idempotency-Key" maxLength:"255" doc:"names the request: sent again with the same body and API key while the notification is kept, it makes no second one"`
	RawBody []byte `contentType:"application/json"`
}

type postedNotification struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true where the Idempotency-Key was met before: this is the notification that was made then"`
	Body     notificationView
}

func (a *api) postNotification(ctx context.Context, in *postNotificationInput) (*postedNotification, error) {
	body, err := a.notificationBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	n := tasks.Notification{ReceiverID: body.ReceiverID, Room: body.Room, Everyone: body.Everyone, Message: body.Message, Type: body.Type, Data: body.Data}
	if err := n.Validate(); err != nil {
		return nil, job.Invalid(err)
	}
	id := job.NewID()
	if in.Key != "" {
		who, _ := auth.From(ctx)
		id = namedID(who.Name, in.Key)
	}
	written, again, err := a.inbox.Post(ctx, inbox.Notification{ID: id, Stream: n.Stream(), Type: n.Type, Message: n.Message, Data: n.Data, Trace: telemetry.Traceparent(ctx)})
	if job.CodeOf(err) == job.CodeConflict {
		return nil, job.Wrap(job.CodeConflict, err, "another notification was posted under this Idempotency-Key")
	}
	if err != nil {
		return nil, err
	}
	return &postedNotification{replayed(again), showNotification(written)}, nil
}

// namedID makes the id of an idempotency key: a UUID of version 8 (RFC 9562
// section 5.8), which no job has.
func namedID(owner, key string) job.ID {
	sum := sha256.Sum256([]byte("postrider notification\x00" + owner + "\x00" + key))
	u := uuid.UUID(sum[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return job.ID(u.String())
}
