package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/inbox"
)

// inboxRoutes declares the operations on inboxes.
func (a *api) inboxRoutes() {
	errs := []int{401, 403, 404, 422, 429, 500, 503}
	tagged := func(method, path, id, summary, description string) huma.Operation {
		op := operation(huma.Operation{
			OperationID: id, Method: method, Path: "/api/notifications" + path, Summary: summary, Description: description, Tags: []string{"notifications"},
		}, auth.Notifications, errs)
		if method != http.MethodPost {
			alsoForUsers(&op)
		}
		return op
	}

	kept := func(op huma.Operation) huma.Operation { // which are asked for again and again
		op.Middlewares = append(op.Middlewares, revalidated)
		return op
	}
	huma.Register(a.huma, kept(tagged(http.MethodGet, "/{userId}", "list-notifications", "List a user's inbox, newest first",
		"The user's own notifications, everyone's, and those of the user's rooms, in one order. A token opens its own user's inbox, an API key anybody's. The answer has an ETag: with it as If-None-Match what has not changed is a 304.")),
		handled(a, a.listInbox))
	huma.Register(a.huma, tagged(http.MethodGet, "/{userId}/after", "notifications-after", "Show what came after sequences that are known",
		"For clients that keep up: what follows in each stream, oldest first, 200 notifications at most in one answer."),
		handled(a, a.inboxAfter))
	huma.Register(a.huma, kept(tagged(http.MethodGet, "/{userId}/unread-count", "count-notifications", "Count what is not read", "")),
		handled(a, a.countInbox))

	for _, all := range []struct {
		path, id, summary string
		as                inbox.Mark
	}{
		{"/{userId}/read-all", "read-notifications", "Mark a user's inbox as read", inbox.Read},
		{"/{userId}/archive-all", "archive-notifications", "Archive a user's inbox", inbox.Archived},
		{"/{userId}/seen", "see-notifications", "Note that a user has looked at the inbox", inbox.Seen},
	} {
		huma.Register(a.huma, tagged(http.MethodPut, all.path, all.id, all.summary, "All that is in it by now; what comes later is new. The counts are answered, and pushed to wherever the user is connected."),
			handled(a, a.markInbox(all.as)))
	}
	huma.Register(a.huma, tagged(http.MethodPut, "/{id}/read", "read-notification", "Mark a notification as read", ""),
		handled(a, a.markNotification(inbox.Read)))
	huma.Register(a.huma, tagged(http.MethodPut, "/{id}/archive", "archive-notification", "Archive a notification, which reads it too", ""),
		handled(a, a.markNotification(inbox.Archived)))

	post := tagged(http.MethodPost, "", "post-notification", "Send a notification at once",
		"It is in the inbox, and on its way to who is connected, when this is answered. No job is made: it has no history, no delay, and no regard to preferences, for which there is POST /jobs/send-notification.")
	post.DefaultStatus = http.StatusCreated
	for _, status := range []string{"400", "408", "409", "413", "415"} {
		post.Responses[status] = post.Responses["422"]
	}
	a.withBody(&post, maxBody)
	huma.Register(a.huma, post, handled(a, a.postNotification))
	a.describeBody(post, a.notificationBody.schema, map[string]*huma.Example{
		"user": {Summary: "To a user", Value: object{"receiverId": "42", "type": "message", "message": "Ann has answered you.", "data": object{"thread": 7}}},
	})
}
