package feedback

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/mail"
)

// Reader reads what was received. Returns may be nil, where mails have no return
// paths of their own.
type Reader struct{ Returns *mail.ReturnPaths }

// Events reads a genuine webhook. What speaks of other things than delivery
// (opens, clicks) is left out. The error is ErrBroken.
func (r Reader) Events(provider string, body []byte) ([]mail.Feedback, error) {
	read := map[string]func([]byte) ([]mail.Feedback, error){
		"ses": r.readSES, "sendgrid": r.readSendGrid, "postmark": r.readPostmark, "mailgun": r.readMailgun, "generic": r.readGeneric,
	}[provider]
	if read == nil {
		return nil, ErrUnknown
	}
	all, err := read(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	for i := range all {
		f := &all[i]
		f.Provider, f.Event = provider, bounded(f.Event)
		f.Message = mail.Note(strings.Join(strings.Fields(f.Message), " "))
		if normal, err := mail.Normalise(f.Address); err == nil {
			f.Address = normal
		} else {
			f.Address = ""
		}
		if f.At.IsZero() {
			f.At = time.Unix(0, 0)
		}
	}
	return all, nil
}

// maxEvent bounds an event's name, in bytes.
const maxEvent = 200

// bounded keeps a name that is too long apart from others.
func bounded(event string) string {
	if len(event) <= maxEvent {
		return event
	}
	sum := sha256.Sum256([]byte(event))
	return hex.EncodeToString(sum[:])
}

// jobID is the form of a job's id, which stands before the @ of its Message-ID.
var jobID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// job finds a mail's job by the return path or the Message-ID that its provider
// names.
func (r Reader) job(returnPath, messageID string) string {
	if r.Returns != nil {
		if id, ok := r.Returns.MessageID(returnPath); ok {
			return id
		}
	}
	id, _, _ := strings.Cut(strings.Trim(messageID, "<> "), "@")
	if id = strings.ToLower(id); jobID.MatchString(id) {
		return id
	}
	return ""
}

// bounce is feedback of a mail that came back for good or for now.
func bounce(permanent bool) mail.Feedback {
	f := mail.Feedback{Kind: mail.Bounced, Permanent: permanent}
	if permanent {
		f.Suppress = mail.Bounce
	}
	return f
}

func delivered() mail.Feedback { return mail.Feedback{Kind: mail.Delivered} }

func complained() mail.Feedback {
	return mail.Feedback{Kind: mail.Complained, Suppress: mail.Complaint}
}

// droppedAfterComplaint is of a mail that a provider did not try to send, because
// its recipient has complained before.
func droppedAfterComplaint() mail.Feedback {
	f := bounce(true)
	f.Suppress = mail.Complaint
	return f
}

func instant(s string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return at
}

func unix(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)) }

// readSES reads a notification or an event of Amazon SES within one of SNS.
func (r Reader) readSES(body []byte) ([]mail.Feedback, error) {
	type recipient struct {
		EmailAddress   string `json:"emailAddress"`
		Status         string `json:"status"`
		DiagnosticCode string `json:"diagnosticCode"`
	}
	var out envelope
	var in struct {
		NotificationType string `json:"notificationType"` // of identity notifications
		EventType        string `json:"eventType"`        // of configuration sets
		Mail             struct {
			MessageID string `json:"messageId"`
			Source    string `json:"source"`
			Headers   []struct {
				Name  string `json:"name"`
				Value string `json:"value"`
			} `json:"headers"`
		} `json:"mail"`
		Bounce struct {
			BounceType        string      `json:"bounceType"`
			BouncedRecipients []recipient `json:"bouncedRecipients"`
			Timestamp         string      `json:"timestamp"`
		} `json:"bounce"`
		Complaint struct {
			ComplainedRecipients  []recipient `json:"complainedRecipients"`
			ComplaintFeedbackType string      `json:"complaintFeedbackType"`
			ComplaintSubType      string      `json:"complaintSubType"`
			Timestamp             string      `json:"timestamp"`
		} `json:"complaint"`
		Delivery struct {
			Timestamp    string   `json:"timestamp"`
			Recipients   []string `json:"recipients"`
			SMTPResponse string   `json:"smtpResponse"`
		} `json:"delivery"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(out.Message), &in); err != nil {
		return nil, err
	}
	messageID := ""
	for _, h := range in.Mail.Headers {
		if strings.EqualFold(h.Name, "Message-ID") {
			messageID = h.Value
		}
	}
	var all []mail.Feedback
	add := func(f mail.Feedback, to recipient, at string) {
		f.Address, f.At, f.Job = to.EmailAddress, instant(at), r.job(in.Mail.Source, messageID)
		f.Event = strings.Join([]string{in.Mail.MessageID, string(f.Kind), to.EmailAddress, at}, "/")
		f.ReplyCode, f.Message = reply(to.DiagnosticCode), to.DiagnosticCode
		all = append(all, f)
	}
	switch in.NotificationType + in.EventType {
	case "Bounce":
		for _, to := range in.Bounce.BouncedRecipients {
			add(bounce(in.Bounce.BounceType == "Permanent"), to, in.Bounce.Timestamp)
		}
	case "Complaint":
		kind, f := in.Complaint.ComplaintFeedbackType, complained()
		if in.Complaint.ComplaintSubType == "OnAccountSuppressionList" { // not tried, because of what happened before
			kind, f = in.Complaint.ComplaintSubType, droppedAfterComplaint()
		} else if !isComplaint(kind) {
			break
		}
		for _, to := range in.Complaint.ComplainedRecipients {
			to.DiagnosticCode = kind
			add(f, to, in.Complaint.Timestamp)
		}
	case "Delivery":
		for _, address := range in.Delivery.Recipients {
			add(delivered(), recipient{EmailAddress: address, DiagnosticCode: in.Delivery.SMTPResponse}, in.Delivery.Timestamp)
		}
	}
	return all, nil
}

// readSendGrid reads a batch of SendGrid's events.
func (r Reader) readSendGrid(body []byte) ([]mail.Feedback, error) {
	var in []struct {
		Email     string  `json:"email"`
		Timestamp float64 `json:"timestamp"`
		SMTPID    string  `json:"smtp-id"`
		Event     string  `json:"event"`
		Type      string  `json:"type"`
		Status    string  `json:"status"`
		Reason    string  `json:"reason"`
		Response  string  `json:"response"`
		ID        string  `json:"sg_event_id"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	var all []mail.Feedback
	for _, e := range in {
		var f mail.Feedback
		switch e.Event {
		case "delivered":
			f = delivered()
		case "bounce":
			f = bounce(e.Type != "blocked")
		case "dropped": // not tried, because of what happened before
			switch e.Reason {
			case "Bounced Address", "Invalid":
				f = bounce(true)
			case "Spam Reporting Address":
				f = droppedAfterComplaint()
			default:
				f = bounce(false)
			}
		case "spamreport":
			f = complained()
		default:
			continue
		}
		f.Event, f.Address, f.At, f.Job = e.ID, e.Email, unix(e.Timestamp), r.job("", e.SMTPID)
		f.Message = e.Reason + e.Response
		f.ReplyCode = reply(f.Message)
		if f.Event == "" {
			f.Event = strings.Join([]string{e.SMTPID, e.Event, e.Email, f.At.Format(time.RFC3339)}, "/")
		}
		all = append(all, f)
	}
	return all, nil
}

// readPostmark reads one event of Postmark.
func (r Reader) readPostmark(body []byte) ([]mail.Feedback, error) {
	var in struct {
		RecordType  string
		MessageID   string
		Type        string
		Email       string
		Recipient   string
		Inactive    bool // no more mail goes there
		BouncedAt   string
		DeliveredAt string
		Description string
		Details     string
		Metadata    map[string]string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	var f mail.Feedback
	switch in.RecordType {
	case "Delivery":
		f = delivered()
	case "Bounce":
		switch in.Type {
		case "AutoResponder", "AddressChange", "ChallengeVerification", "Subscribe", "Unsubscribe":
			return nil, nil // somebody's answer: the mail has arrived
		case "SpamComplaint":
			f = complained()
		default:
			f = bounce(in.Type == "HardBounce" || in.Type == "BadEmailAddress" || in.Inactive)
		}
	case "SpamComplaint":
		f = complained()
	default:
		return nil, nil
	}
	at := in.BouncedAt + in.DeliveredAt
	f.Address, f.At, f.Job = in.Email+in.Recipient, instant(at), r.job("", in.Metadata[mail.PostmarkMetadata])
	f.Event = strings.Join([]string{in.MessageID, in.RecordType, f.Address, at}, "/")
	f.Message = in.Details
	if f.Message == "" {
		f.Message = in.Description
	}
	f.ReplyCode = reply(f.Message)
	return []mail.Feedback{f}, nil
}

// readMailgun reads one event of Mailgun.
func (r Reader) readMailgun(body []byte) ([]mail.Feedback, error) {
	var in struct {
		Data struct {
			ID        string  `json:"id"`
			Event     string  `json:"event"`
			Timestamp float64 `json:"timestamp"`
			Recipient string  `json:"recipient"`
			Severity  string  `json:"severity"`
			Reason    string  `json:"reason"`
			Status    struct {
				Code        int    `json:"code"`
				Message     string `json:"message"`
				Description string `json:"description"`
				BounceType  string `json:"bounce-type"`
			} `json:"delivery-status"`
			Message struct {
				Headers struct {
					MessageID string `json:"message-id"`
				} `json:"headers"`
			} `json:"message"`
		} `json:"event-data"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	e := in.Data
	var f mail.Feedback
	switch e.Event {
	case "delivered":
		f = delivered()
	case "failed":
		if e.Severity == "temporary" {
			return nil, nil // Mailgun tries again, and tells what that comes to
		}
		f = bounce(true)
		// A server's word about the address, and not that Mailgun has given up.
		if e.Reason != "bounce" && e.Reason != "suppress-bounce" || e.Status.BounceType == "soft" {
			f.Suppress = ""
		}
	case "complained":
		f = complained()
	default:
		return nil, nil
	}
	f.Event, f.Address, f.At, f.Job = e.ID, e.Recipient, unix(e.Timestamp), r.job("", e.Message.Headers.MessageID)
	f.ReplyCode, f.Message = e.Status.Code, e.Status.Message
	if f.Message == "" {
		f.Message = e.Status.Description
	}
	if f.Event == "" {
		return nil, fmt.Errorf("event-data has no id")
	}
	return []mail.Feedback{f}, nil
}

// readGeneric reads the form that docs/feedback.md describes.
func (r Reader) readGeneric(body []byte) ([]mail.Feedback, error) {
	var in struct {
		Events []struct {
			ID        string    `json:"id"`
			Type      string    `json:"type"`
			Address   string    `json:"address"`
			JobID     string    `json:"job_id"`
			MessageID string    `json:"message_id"`
			Permanent bool      `json:"permanent"`
			Code      int       `json:"code"`
			Text      string    `json:"text"`
			Time      time.Time `json:"time"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	var all []mail.Feedback
	for i, e := range in.Events {
		var f mail.Feedback
		switch mail.FeedbackKind(e.Type) {
		case mail.Delivered:
			f = delivered()
		case mail.Bounced:
			f = bounce(e.Permanent)
		case mail.Complained:
			f = complained()
		default:
			return nil, fmt.Errorf("events[%d].type is none of delivered, bounced, complained", i)
		}
		if e.ID == "" {
			return nil, fmt.Errorf("events[%d].id must not be empty", i)
		}
		f.Event, f.Address, f.At, f.ReplyCode, f.Message = e.ID, e.Address, e.Time, e.Code, e.Text
		if f.Job = r.job("", e.JobID); f.Job == "" {
			f.Job = r.job("", e.MessageID)
		}
		all = append(all, f)
	}
	return all, nil
}

// replyCode finds the SMTP reply in a server's words: "smtp; 550 5.1.1 unknown".
var replyCode = regexp.MustCompile(`^(?:[Ss][Mm][Tt][Pp]; ?)?([245][0-9][0-9])\b`)

func reply(words string) int {
	m := replyCode.FindStringSubmatch(strings.TrimSpace(words))
	if m == nil {
		return 0
	}
	code := 0
	for _, d := range m[1] {
		code = 10*code + int(d-'0')
	}
	return code
}
