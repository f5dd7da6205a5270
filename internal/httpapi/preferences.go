package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/tasks"
)

// Preferences is what the routes of recipients need; recipient.Service has it.
type Preferences interface {
	Get(ctx context.Context, id string) (recipient.Preferences, error)
	Put(ctx context.Context, p recipient.Preferences, seen int64) (recipient.Preferences, error)
	Delete(ctx context.Context, id string, seen int64) error
}

// preferencesRequest is the body of PUT /recipients/{id}/preferences.
type preferencesRequest struct {
	Address    string                      `json:"address,omitempty" example:"ann@example.com" doc:"that mails are sent to, and digests go to; of a recipient whose id is an address it is that"`
	TimeZone   string                      `json:"time_zone,omitempty" example:"Europe/Berlin" doc:"an IANA name; UTC when left out"`
	QuietHours *quietHours                 `json:"quiet_hours,omitempty" doc:"when mails wait, except urgent and essential ones; none when left out"`
	Categories map[string]recipient.Choice `json:"categories,omitempty" example:"{\"news\":\"digest\"}" doc:"what becomes of each category's messages: on, off or digest; on where it is not named. Essential ones can only be on"`
	Digest     *digestTimes                `json:"digest,omitempty" doc:"when digests go out; each day at 08:00 when left out"`
}

type quietHours struct {
	From string `json:"from" example:"22:00" doc:"by the recipient's clock"`
	To   string `json:"to" example:"08:00" doc:"not included; on the next day where it is before from"`
}

type digestTimes struct {
	Window  recipient.Window `json:"window,omitempty" enum:"hourly,daily,weekly" doc:"daily when left out"`
	At      string           `json:"at,omitempty" example:"08:00" doc:"of daily and weekly ones; 08:00 when left out"`
	Weekday string           `json:"weekday,omitempty" enum:"monday,tuesday,wednesday,thursday,friday,saturday,sunday" doc:"of weekly ones; monday when left out"`
}

// preferencesView is a recipient's preferences as the API shows them.
type preferencesView struct {
	ID         string                      `json:"id" example:"42" doc:"the recipient: a user's id, or an address"`
	Address    string                      `json:"address,omitempty" example:"ann@example.com"`
	TimeZone   string                      `json:"time_zone" example:"Europe/Berlin"`
	QuietHours *quietHours                 `json:"quiet_hours,omitempty"`
	Categories map[string]recipient.Choice `json:"categories" nullable:"false"`
	Digest     digestTimes                 `json:"digest"`
	UpdatedAt  stamp                       `json:"updated_at"`
}

// preferencesInput is the request of what needs the recipient alone.
type preferencesInput struct {
	ID string `path:"id" doc:"the recipient: a user's id, or an address"`
}

// seenVersion is the version that a change's conditions are about.
func seenVersion(ifMatch, ifNoneMatch string) (int64, error) {
	var bad tasks.Invalid
	switch {
	case ifNoneMatch != "" && (ifNoneMatch != "*" || ifMatch != ""):
		bad.Add("If-None-Match", "must be * and without If-Match, or left out")
	case ifNoneMatch != "":
		return 0, nil
	case ifMatch != "":
		n, err := strconv.ParseInt(strings.Trim(ifMatch, `"`), 10, 64)
		if err == nil && n > 0 && ifMatch == etag(n) {
			return n, nil
		}
		bad.Add("If-Match", "must be an ETag that was answered, in its quotation marks")
	default:
		return recipient.AnyVersion, nil
	}
	return 0, job.Invalid(bad)
}

// etag is a version as an entity tag (RFC 9110 section 8.8.3).
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

type preferencesAnswer struct {
	ETag string `header:"ETag" doc:"the version, for If-Match"`
	Body preferencesView
}

func showPreferences(p recipient.Preferences) *preferencesAnswer {
	v := preferencesView{
		ID: p.ID, Address: p.Address, TimeZone: p.TimeZone, Categories: p.Categories,
		Digest:    digestTimes{p.Digest.Window, p.Digest.At, p.Digest.Weekday},
		UpdatedAt: stamp{p.UpdatedAt},
	}
	if v.Categories == nil {
		v.Categories = map[string]recipient.Choice{}
	}
	if q := p.QuietHours; q != nil {
		v.QuietHours = &quietHours{q.From, q.To}
	}
	return &preferencesAnswer{etag(p.Version), v}
}

func (a *api) findPreferences(ctx context.Context, in *preferencesInput) (*preferencesAnswer, error) {
	p, err := a.preferences.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return showPreferences(p), nil
}

// putPreferencesInput is the request of PUT /recipients/{id}/preferences.
type putPreferencesInput struct {
	ID          string `path:"id" doc:"the recipient: a user's id, or an address"`
	IfMatch     string `header:"If-Match" doc:"the ETag of the preferences that are to be replaced: if they are others by now, the answer is 412"`
	IfNoneMatch string `header:"If-None-Match" doc:"* creates preferences only: if there are any, the answer is 412"`
	RawBody     []byte `contentType:"application/json"`
}

func (a *api) putPreferences(ctx context.Context, in *putPreferencesInput) (*preferencesAnswer, error) {
	body, err := a.preferencesBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	seen, err := seenVersion(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	p := recipient.Preferences{ID: in.ID, Address: body.Address, Settings: recipient.Settings{TimeZone: body.TimeZone, Categories: body.Categories}}
	if q := body.QuietHours; q != nil {
		p.QuietHours = &recipient.QuietHours{From: q.From, To: q.To}
	}
	if d := body.Digest; d != nil {
		p.Digest = recipient.DigestTimes{Window: d.Window, At: d.At, Weekday: d.Weekday}
	}
	if p, err = a.preferences.Put(ctx, p, seen); err != nil {
		return nil, preconditioned(err)
	}
	return showPreferences(p), nil
}

// deletePreferencesInput is the request of DELETE /recipients/{id}/preferences.
type deletePreferencesInput struct {
	ID      string `path:"id" doc:"the recipient: a user's id, or an address"`
	IfMatch string `header:"If-Match" doc:"the ETag of the preferences that are to be deleted: if they are others by now, the answer is 412"`
}

func (a *api) deletePreferences(ctx context.Context, in *deletePreferencesInput) (*struct{}, error) {
	seen, err := seenVersion(in.IfMatch, "")
	if err != nil {
		return nil, err
	}
	return nil, preconditioned(a.preferences.Delete(ctx, in.ID, seen))
}

// preconditioned answers 412 where a condition of the request does not hold
// (RFC 9110 section 13.1.1).
func preconditioned(err error) error {
	if errors.Is(err, recipient.ErrChanged) {
		return newProblem(http.StatusPreconditionFailed, job.CodeConflict, "the preferences were changed in the meantime: look at them again")
	}
	return err
}
