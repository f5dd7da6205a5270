package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Chats is what is said in rooms: a *chat.Service.
type Chats interface {
	Send(ctx context.Context, d chat.Draft) (m chat.Message, again bool, err error)
	History(ctx context.Context, q chat.Query) (chat.Page, error)
	Delete(ctx context.Context, room string, id chat.ID, by string) error
}

// chatRoutes declares the operations on what is said in rooms.
func (a *api) chatRoutes() {
	errs := []int{401, 403, 404, 422, 429, 500, 503}
	const path = "/api/rooms/{room}/messages"
	op := func(method, path, id, summary, description string) huma.Operation {
		return operation(huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"chat"},
		}, auth.Notifications, errs)
	}
	list := op(http.MethodGet, path, "list-messages", "List what was said in a room, newest first",
		"A token opens the rooms that its user may enter, an API key all. Messages that were deleted are left out.")
	alsoForUsers(&list)
	huma.Register(a.huma, list, handled(a, a.listMessages))

	post := op(http.MethodPost, path, "post-message", "Say something in a room",
		"It is stored, and on its way to who has entered the room, when this is answered. Sent again with the same client_id, of the same user, it is the same message.")
	post.DefaultStatus = http.StatusCreated
	for _, status := range []string{"400", "408", "413", "415"} {
		post.Responses[status] = post.Responses["422"]
	}
	a.withBody(&post, maxBody)
	huma.Register(a.huma, post, handled(a, a.postMessage))
	a.describeBody(post, a.messageBody.schema, map[string]*huma.Example{
		"system": {Summary: "By the application", Value: object{"text": "Ann has joined the order.", "client_id": "order-7-ann"}},
	})

	remove := op(http.MethodDelete, path+"/{id}", "delete-message", "Take a message back",
		"Those in the room are told, and it is in no history from then on; of what was said nothing is kept. A token takes back its user's own messages, an API key anybody's.")
	remove.DefaultStatus = http.StatusNoContent
	alsoForUsers(&remove)
	huma.Register(a.huma, remove, handled(a, a.deleteMessage))
}

// RoomPath names a room; huma looks into exported fields only.
type RoomPath struct {
	Room string `path:"room" example:"lobby" doc:"the room's name, of 1 to 128 bytes"`
}

// open checks that the caller may see the room, and returns the user whose own
// messages alone are theirs to delete, or empty.
func (p RoomPath) open(ctx context.Context, a *api) (user string, err error) {
	who, _ := auth.From(ctx)
	if who.User == nil {
		return "", nil
	}
	if err := a.checkRoom(ctx, *who.User, p.Room); err != nil {
		return "", err
	}
	return who.User.ID, nil
}

// ofChat gives an error of the chat its code.
func ofChat(err error) error {
	var invalid chat.InvalidError
	var known *job.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.As(err, &invalid):
		return job.Invalid(tasks.Invalid{{Field: invalid.Field, Problem: invalid.Problem}})
	case errors.Is(err, chat.ErrNotFound):
		return job.Wrap(job.CodeNotFound, err, "the room has no such message")
	case errors.Is(err, chat.ErrNotYours):
		return job.Wrap(job.CodeForbidden, err, "a token takes back its own user's messages only")
	default:
		return job.Wrap(job.CodeTemporary, err, "the rooms cannot be reached now; it may or may not have been done")
	}
}

// messageView is a message as the API shows it.
type messageView struct {
	ID        string          `json:"id" example:"1764000000000-17" doc:"its place in the room; those of a room rise as it was said, compared as two numbers"`
	Room      string          `json:"room" example:"lobby"`
	UserID    string          `json:"userId" example:"42"`
	Text      string          `json:"text"`
	Data      json.RawMessage `json:"data,omitempty" doc:"any JSON value"`
	ClientID  string          `json:"clientId,omitempty" doc:"how the sender names it"`
	Timestamp stamp           `json:"timestamp"`
}

func showMessage(m chat.Message) messageView {
	return messageView{m.ID.String(), m.Room, m.User, m.Text, m.Data, m.ClientID, stamp{m.At()}}
}

type listMessagesInput struct {
	RoomPath
	Before string `query:"before" doc:"only what was said before this message: next_cursor of the page before"`
	After  string `query:"after" doc:"only what was said after this message"`
	Search string `query:"q" maxLength:"200" doc:"only what has all of these words, in upper or lower case"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type messagesPage struct {
	Body struct {
		Messages   []messageView `json:"messages" nullable:"false" doc:"newest first"`
		NextCursor string        `json:"next_cursor,omitempty" doc:"asks for the page behind this one, as before; none is left where it is missing. A page of a search may be short, or empty, and have one"`
	}
}

func (a *api) listMessages(ctx context.Context, in *listMessagesInput) (*messagesPage, error) {
	if _, err := in.open(ctx, a); err != nil {
		return nil, err
	}
	q := chat.Query{Room: in.Room, Limit: in.Limit, Words: chat.Words(in.Search)}
	var bad tasks.Invalid
	for _, bound := range []struct {
		field, text string
		to          *chat.ID
	}{{"before", in.Before, &q.Before}, {"after", in.After, &q.After}} {
		var err error
		if bound.text == "" {
			continue
		}
		if *bound.to, err = chat.ParseID(bound.text); err != nil {
			bad.Add(bound.field, "must be the id of a message")
		}
	}
	if in.Search != "" && len(q.Words) == 0 {
		bad.Add("q", "must have a word: letters or digits")
	}
	if err := bad.OrNil(); err != nil {
		return nil, job.Invalid(err)
	}
	page, err := a.chats.History(ctx, q)
	if err != nil {
		return nil, ofChat(err)
	}
	out := &messagesPage{}
	out.Body.Messages = make([]messageView, len(page.Messages))
	for i, m := range page.Messages {
		out.Body.Messages[i] = showMessage(m)
	}
	if !page.Next.IsZero() {
		out.Body.NextCursor = page.Next.String()
	}
	return out, nil
}

// messageRequest is the body of post-message.
type messageRequest struct {
	UserID   string          `json:"userId,omitempty" example:"42" doc:"who says it; system when left out"`
	Text     string          `json:"text" example:"Ann has joined the order." doc:"1 to 10,000 bytes"`
	ClientID string          `json:"client_id,omitempty" doc:"names the message among the user's in the room: sent again it is the same; up to 128 bytes"`
	Data     json.RawMessage `json:"data,omitempty" doc:"any JSON value, handed through; up to 16,000 bytes"`
}

type postMessageInput struct {
	RoomPath
	RawBody []byte `contentType:"application/json"`
}

type postedMessage struct {
	Body messageView
}

func (a *api) postMessage(ctx context.Context, in *postMessageInput) (*postedMessage, error) {
	body, err := a.messageBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	if body.UserID == "" {
		body.UserID = "system"
	}
	m, _, err := a.chats.Send(ctx, chat.Draft{Room: in.Room, User: body.UserID, Text: body.Text, Data: body.Data, ClientID: body.ClientID})
	if err != nil {
		return nil, ofChat(err)
	}
	return &postedMessage{showMessage(m)}, nil
}

type deleteMessageInput struct {
	RoomPath
	ID string `path:"id" doc:"the message"`
}

func (a *api) deleteMessage(ctx context.Context, in *deleteMessageInput) (*struct{}, error) {
	by, err := in.open(ctx, a)
	if err != nil {
		return nil, err
	}
	id, err := chat.ParseID(in.ID)
	if err != nil || !chat.ValidName(in.Room) {
		return nil, job.Errorf(job.CodeNotFound, "the room has no such message")
	}
	if by != "" { // their own words
		return nil, ofChat(a.chats.Delete(ctx, in.Room, id, by))
	}
	doing := act(ctx, audit.MessageDelete, "room:"+in.Room)
	doing.Detail = id.String()
	return nil, a.audit.Steps(ctx, doing, audit.One(func(ctx context.Context) error { return ofChat(a.chats.Delete(ctx, in.Room, id, by)) }))
}
