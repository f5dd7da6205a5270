package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// notificationRequest is the body of send-notification.
type notificationRequest struct {
	ReceiverID string `json:"receiverId,omitempty" example:"42" doc:"the user it is for; exactly one of receiverId, room and everyone must be given"`
	Room       string `json:"room,omitempty" doc:"the room it is for"`
	Everyone   bool   `json:"everyone,omitempty" doc:"it is for everyone"`

	Message  string          `json:"message" example:"Your order has been shipped." doc:"up to 10,000 bytes"`
	Type     string          `json:"type,omitempty" enum:"info,success,warning,error,message,system" doc:"info when left out"`
	Data     json.RawMessage `json:"data,omitempty" doc:"any JSON value, handed through; up to 64,000 bytes"`
	Category string          `json:"category,omitempty" example:"comments" doc:"what its receiver may switch off, or have gathered into a digest, unless it is essential; none is always delivered"`

	Delay     *int64     `json:"delay,omitempty" minimum:"0" maximum:"31622400000" doc:"milliseconds from now until it is sent"`
	SendAt    *time.Time `json:"send_at,omitempty" doc:"when it is sent; instead of delay, at most 366 days ahead"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"from when on it is not sent any more"`
}

func (a *api) sendNotification(ctx context.Context, who job.Caller, in notificationRequest) (acceptance, error) {
	raw, err := encodeJSON(tasks.Notification{
		ReceiverID: in.ReceiverID, Room: in.Room, Everyone: in.Everyone,
		Message: in.Message, Type: in.Type, Data: in.Data, Category: in.Category,
	})
	if err != nil {
		return acceptance{}, fmt.Errorf("encoding the notification: %w", err)
	}
	got, err := a.charged(ctx, who, 1, func() (job.Accepted, error) {
		return a.jobs.Accept(ctx, who, job.Submission{
			Type: tasks.NotificationSend.Name, Payload: raw,
			Delay: milliseconds(in.Delay), RunAt: moment(in.SendAt), ExpiresAt: moment(in.ExpiresAt),
		})
	})
	if err != nil {
		return acceptance{}, renameFields(err, func(field string) string {
			if field == "run_at" {
				return "send_at"
			}
			return field
		})
	}
	return acceptedOne(got, "Notification task", "Notification scheduled to be sent", timing{in.Delay, in.SendAt}), nil
}
