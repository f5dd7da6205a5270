package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strings"
	"unicode/utf8"
)

// entity is what a message, or a part of it, consists of (RFC 2046).
type entity struct {
	header textproto.MIMEHeader
	write  func(*assembly) error
}

// bodyOf makes the message's body: text and HTML, the plainest first and the
// preferred last (RFC 2046 §5.1.4), the files that the HTML shows beside them
// (RFC 2387), the others around all.
func bodyOf(m Message) (entity, error) {
	if !utf8.ValidString(m.Text) {
		return entity{}, errors.New("text is not valid UTF-8")
	}
	if !utf8.ValidString(m.HTML) {
		return entity{}, errors.New("html is not valid UTF-8")
	}
	inline, attached, err := filesOf(m)
	if err != nil {
		return entity{}, err
	}
	var words []entity
	if m.Text != "" || m.HTML == "" {
		words = append(words, textPart("text/plain", m.Text))
	}
	if m.HTML != "" {
		words = append(words, textPart("text/html", m.HTML))
	}
	body := multi("alternative", m.ID, words...)
	body = multi("related", m.ID, append([]entity{body}, inline...)...)
	return multi("mixed", m.ID, append([]entity{body}, attached...)...), nil
}

// boundaryMark is in every boundary and in no part: base64 and quoted-printable
// cannot have it (RFC 2045 §6.7), and text that has it is encoded.
const boundaryMark = "=_"

// multi puts parts together; one alone stays what it is. The boundary is made
// from the message's id, so that all attempts at it are the same bytes.
func multi(kind, id string, parts ...entity) entity {
	if len(parts) == 1 {
		return parts[0]
	}
	sum := sha256.Sum256([]byte(kind + "\x00" + id))
	params := map[string]string{"boundary": boundaryMark + hex.EncodeToString(sum[:12])}
	if kind == "related" { // RFC 2387 §3.1 wants the type of what is shown
		params["type"], _, _ = strings.Cut(parts[0].header.Get("Content-Type"), ";")
	}
	write := func(a *assembly) error {
		w := multipart.NewWriter(a)
		if err := w.SetBoundary(params["boundary"]); err != nil {
			return err
		}
		for _, p := range parts {
			if _, err := w.CreatePart(p.header); err != nil {
				return err
			}
			if err := p.write(a); err != nil {
				return err
			}
		}
		return w.Close()
	}
	return entity{textproto.MIMEHeader{"Content-Type": {withParams("multipart/"+kind, params)}}, write}
}

// withParams writes a media type, or a disposition, with each parameter on a line of
// its own. It is empty where that cannot be written.
func withParams(value string, params map[string]string) string {
	out := mime.FormatMediaType(value, nil)
	head := out + "; "
	for _, name := range slices.Sorted(maps.Keys(params)) {
		one, ok := strings.CutPrefix(mime.FormatMediaType(value, map[string]string{name: params[name]}), head)
		if !ok {
			return ""
		}
		out += ";\r\n " + one
	}
	return out
}

// top writes the part as the message's own: its header ends the message's.
func (p entity) top(a *assembly) error {
	for _, name := range slices.Sorted(maps.Keys(p.header)) {
		fmt.Fprintf(a, "%s: %s\r\n", name, p.header[name][0])
	}
	fmt.Fprint(a, "\r\n")
	return p.write(a)
}

func textPart(mediaType, s string) entity {
	encoding, encoded := encodeText(s)
	return entity{textproto.MIMEHeader{
		"Content-Type":              {mediaType + "; charset=UTF-8"},
		"Content-Transfer-Encoding": {encoding},
	}, func(a *assembly) error {
		_, err := a.Write(encoded)
		return err
	}}
}

// lineEnds makes all line ends those of mails.
var lineEnds = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")

// encodeText chooses a transfer encoding (RFC 2045 §6): none where nothing on the
// way has a reason to change the text, else quoted-printable, or base64 where the
// text is hardly in Latin letters.
//
// Never 8bit, whatever the server offers: the next one may not, and what is
// encoded anew on the way breaks the signature (RFC 6376 §5.3).
func encodeText(s string) (encoding string, encoded []byte) {
	s = lineEnds.Replace(s)
	if survives(s) {
		return "7bit", []byte(s)
	}
	var quoted bytes.Buffer
	w := quotedprintable.NewWriter(&quoted)
	_, _ = w.Write([]byte(s)) // a bytes.Buffer never errs
	_ = w.Close()
	if quotes(quoted.Len(), base64Size(len(s))) {
		return "quoted-printable", quoted.Bytes()
	}
	var out bytes.Buffer
	_ = writeBase64(&out, []byte(s))
	return "base64", out.Bytes()
}

// quotes chooses between two lengths of the same, quoted and in base64. What people
// can nearly read may be half as long again.
func quotes(quoted, base64 int) bool { return 2*quoted <= 3*base64 }

// survives reports whether text with lines of CRLF is as good unencoded: ASCII in
// lines of up to 78 characters (RFC 5322 §2.1.1), without what servers change:
// white space at a line's end, a line that begins with "From ".
func survives(s string) bool {
	const maxTextLine = 78
	if strings.Contains(s, boundaryMark) {
		return false
	}
	for line := range strings.SplitSeq(s, "\r\n") {
		if len(line) > maxTextLine || strings.HasPrefix(line, "From ") || strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") {
			return false
		}
		for i := range len(line) {
			if c := line[i]; c != '\t' && (c < ' ' || c > '~') {
				return false
			}
		}
	}
	return true
}
