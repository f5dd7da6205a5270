package feedback

import (
	"crypto/sha256"
	"encoding/hex"
	netmail "net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/mail"
)

// MaxMessage bounds a message that comes back, in bytes. Its first
// tasks.MaxFeedbackMessage are kept, which is where the report stands.
const MaxMessage = 16 << 20

// Message reads mail that came back: a delivery report (RFC 3464) or a complaint
// (RFC 5965), whole or cut off. rcpt is the address that it came to, if that is
// known. Nothing is returned for what is neither.
//
// Anybody can write such a mail. It is believed where it came to a return path
// that was signed here: then it concerns the recipient of that mail's job,
// whoever it names. Otherwise it is kept with the address that it names, and
// suppresses nobody.
func (r Reader) Message(rcpt string, raw []byte) []mail.Feedback {
	header, body := readFields(raw)
	report := readReport(header, body)
	paths := []string{rcpt}
	for _, name := range []string{"To", "Delivered-To", "X-Original-To"} {
		paths = append(paths, header[name]...)
	}
	job := r.believed(append(paths, report.paths...))
	at, err := netmail.ParseDate(header.Get("Date"))
	if err != nil {
		at = time.Unix(0, 0)
	}
	// A message has no name that can be trusted; what it is made of names it.
	sum := sha256.Sum256(report.text.Bytes())
	name := job + hex.EncodeToString(sum[:])
	var all []mail.Feedback
	for _, g := range report.groups {
		f, told := g.feedback()
		switch {
		case !told:
			continue
		case job != "": // a mail of ours has one recipient, whoever the report names
			f.Address = ""
		case f.Address == "":
			continue
		default:
			f.Suppress = ""
		}
		f.Provider, f.Event, f.At, f.Job = "message", bounded(name+"/"+g.address()), at, job
		all = append(all, f)
		if job != "" {
			break
		}
	}
	return all
}

// believed is the job of the first return path that was signed here.
func (r Reader) believed(fields []string) string {
	if r.Returns == nil {
		return ""
	}
	for _, field := range fields {
		paths := []string{strings.Trim(field, "<> ")}
		if list, err := netmail.ParseAddressList(field); err == nil {
			paths = paths[:0]
			for _, a := range list {
				paths = append(paths, a.Address)
			}
		}
		for _, p := range paths {
			if id, ok := r.Returns.MessageID(p); ok {
				return id
			}
		}
	}
	return ""
}

// group is what a report says about one recipient, or a complaint about its
// mail.
type group struct {
	textproto.MIMEHeader
	complaint bool
}

// feedback reads a group; false for what is no end of a mail's way (delayed,
// relayed, expanded), and for reports that no recipient has made (RFC 5965
// §7.3, RFC 6591).
func (g group) feedback() (f mail.Feedback, told bool) {
	if g.complaint {
		f = complained()
		f.Address, f.Message = g.address(), mail.Note(g.Get("Feedback-Type"))
		return f, isComplaint(g.Get("Feedback-Type"))
	}
	words := strings.Join(strings.Fields(g.Get("Diagnostic-Code")), " ")
	status := statusOf(g.Get("Status"), words)
	switch firstWord(g.Get("Action")) {
	case "failed":
		f = bounce(!strings.HasPrefix(status, "4"))
		if !mail.BadAddress(status) {
			f.Suppress = ""
		}
	case "delivered":
		f = delivered()
	default:
		return f, false
	}
	if words == "" {
		words = status
	}
	f.Address, f.ReplyCode, f.Message = g.address(), reply(words), mail.Note(words)
	return f, true
}

// isComplaint tells a recipient's complaint from what else comes in its form.
func isComplaint(kind string) bool {
	switch firstWord(kind) {
	case "not-spam", "auth-failure":
		return false
	}
	return true
}

// firstWord is a field's, in lower case; a remark may follow.
func firstWord(field string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(field), " ")
	return strings.ToLower(word)
}

// saidStatus finds the status code in what a server said: "smtp; 550-5.1.1 …".
var saidStatus = regexp.MustCompile(`^(?:[Ss][Mm][Tt][Pp]; ?)?([245])[0-9][0-9][ -]([245]\.[0-9]{1,3}\.[0-9]{1,3})\b`)

// statusOf is a recipient's status code (RFC 3463). Exim and others always write
// 5.0.0: what the server said stands behind it then.
func statusOf(field, words string) string {
	status := firstWord(field)
	if status != "" && !strings.HasSuffix(status, ".0.0") {
		return status
	}
	if m := saidStatus.FindStringSubmatch(words); m != nil && m[1] == m[2][:1] {
		return m[2]
	}
	return status
}

// address is the recipient that a group names, normal, or empty.
func (g group) address() string {
	names := []string{"Original-Recipient", "Final-Recipient"}
	if g.complaint {
		names = []string{"Original-Rcpt-To"}
	}
	for _, name := range names {
		if a := addressIn(g.Get(name)); a != "" {
			return a
		}
	}
	return ""
}

// addressIn is the address in "rfc822; user@example.com", normal, or empty.
func addressIn(field string) string {
	if kind, rest, typed := strings.Cut(field, ";"); typed && !strings.Contains(kind, "@") {
		field = rest
	}
	normal, err := mail.Normalise(strings.TrimSpace(field))
	if err != nil {
		return ""
	}
	return normal
}
