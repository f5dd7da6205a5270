package mailcatch

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
)

// Bounds on what a hostile mail can make the parser do.
const (
	maxDepth = 10
	maxParts = 200
)

// summary is what the list shows of a mail, decoded.
type summary struct {
	from, to, cc, subject, messageID, date string
}

// content is a mail taken apart.
type content struct {
	header      string // as it came, made valid UTF-8
	headers     map[string][]string
	text, html  string
	attachments []attachment
	trouble     string // why the mail could not be read to its end, or ""
}

type attachment struct {
	name        string
	contentType string
	data        []byte
}

// summarise reads the header only. What cannot be read stays empty.
func summarise(raw []byte) summary {
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return summary{}
	}
	get := func(name string) string { return decodeWords(m.Header.Get(name)) }
	return summary{
		from: get("From"), to: get("To"), cc: get("Cc"), subject: get("Subject"),
		messageID: get("Message-Id"), date: get("Date"),
	}
}

// parse takes a mail apart as far as it can be understood.
func parse(raw []byte) content {
	head, _, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !found {
		head, _, _ = bytes.Cut(raw, []byte("\n\n"))
	}
	c := content{header: strings.ToValidUTF8(string(head), "\uFFFD"), headers: map[string][]string{}}
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		c.trouble = "the header cannot be read: " + err.Error()
		return c
	}
	for name, values := range m.Header {
		for _, value := range values {
			c.headers[name] = append(c.headers[name], decodeWords(value))
		}
	}
	p := parser{content: &c}
	if err := p.walk(textproto.MIMEHeader(m.Header), m.Body, 0); err != nil {
		c.trouble = "the body cannot be read to its end: " + err.Error()
	}
	return c
}

// parser collects the leaves of a MIME tree (RFC 2046).
type parser struct {
	content *content
	parts   int
}

func (p *parser) walk(header textproto.MIMEHeader, body io.Reader, depth int) error {
	if p.parts++; p.parts > maxParts {
		return fmt.Errorf("it has more than %d parts", maxParts)
	}
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		mediaType, params = "text/plain", nil // RFC 2045 §5.2
	}
	if strings.HasPrefix(mediaType, "multipart/") && params["boundary"] != "" && depth < maxDepth {
		reader := multipart.NewReader(body, params["boundary"])
		for {
			part, err := reader.NextRawPart()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := p.walk(part.Header, part, depth+1); err != nil {
				return err
			}
		}
	}
	data, err := io.ReadAll(transferDecoder(header.Get("Content-Transfer-Encoding"), body))
	p.leaf(header, mediaType, params, data) // what could be read of it
	return err
}

// leaf files a part: the first text and HTML that are not attachments are the
// mail's, all else can be downloaded.
func (p *parser) leaf(header textproto.MIMEHeader, mediaType string, params map[string]string, data []byte) {
	disposition, dispositionParams, err := mime.ParseMediaType(header.Get("Content-Disposition"))
	if err != nil {
		dispositionParams = nil
	}
	name := decodeWords(dispositionParams["filename"])
	if name == "" {
		name = decodeWords(params["name"])
	}
	c := p.content
	switch {
	case disposition != "attachment" && mediaType == "text/plain" && c.text == "":
		c.text = toUTF8(data, params["charset"])
	case disposition != "attachment" && mediaType == "text/html" && c.html == "":
		c.html = toUTF8(data, params["charset"])
	default:
		c.attachments = append(c.attachments, attachment{name: name, contentType: mediaType, data: data})
	}
}

func transferDecoder(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	default: // 7bit, 8bit, binary
		return body
	}
}

// decodeWords decodes RFC 2047 words; what is malformed stays as it is.
func decodeWords(s string) string {
	decoder := mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	decoded, err := decoder.DecodeHeader(s)
	if err != nil {
		decoded = s
	}
	return strings.ToValidUTF8(decoded, "\uFFFD")
}

func toUTF8(data []byte, label string) string {
	if label != "" && !(strings.EqualFold(label, "utf-8") && utf8.Valid(data)) {
		if r, err := charset.NewReaderLabel(label, bytes.NewReader(data)); err == nil {
			if decoded, err := io.ReadAll(r); err == nil {
				data = decoded
			}
		}
	}
	return strings.ToValidUTF8(string(data), "\uFFFD")
}
