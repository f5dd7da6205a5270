package mail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
)

// content is a message, or a piece of it, as it is written to a server: text, and
// between it files, which are encoded while they are written. A file is thus in
// memory once, as it was given, whatever is done with the message.
type content []segment

// segment is one or the other.
type segment struct {
	text []byte // as it stands in the message
	file []byte // what stands there in base64
}

const (
	// lineBytes of a file make a line of 76 characters (RFC 2045 §6.8).
	lineBytes = 57
	lineChars = 76
	// linesAtOnce is how many lines are encoded before they are written.
	linesAtOnce = 400
)

// writeTo writes all of it.
func (c content) writeTo(w io.Writer) error {
	for _, s := range c {
		var err error
		if s.file != nil {
			err = writeBase64(w, s.file)
		} else {
			_, err = w.Write(s.text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bytes is all of it, in memory.
func (c content) bytes() []byte {
	var out bytes.Buffer
	out.Grow(int(c.size()))
	_ = c.writeTo(&out) // a bytes.Buffer never errs
	return out.Bytes()
}

// size is how many bytes writeTo writes.
func (c content) size() int64 {
	n := 0
	for _, s := range c {
		n += len(s.text) + base64Size(len(s.file))
	}
	return int64(n)
}

// text calls see for each piece of text, until it errs.
func (c content) text(see func([]byte) error) error {
	for _, s := range c {
		if err := see(s.text); err != nil {
			return err
		}
	}
	return nil
}

const crlf = "\r\n"

// stuffed is the content of DATA less its final dot: every line that begins with
// a dot has another (RFC 5321 §4.5.2), and the last line is ended. Lines of files
// begin with none, what follows a file begins on a line of its own, and text does
// follow the last.
func (c content) stuffed() content {
	out := make(content, len(c))
	for i, s := range c {
		out[i] = segment{text: stuffed(s.text), file: s.file}
	}
	if last := &out[len(out)-1]; !bytes.HasSuffix(last.text, []byte(crlf)) {
		last.text = append(last.text, crlf...)
	}
	return out
}

func stuffed(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte(".")) && !bytes.Contains(text, []byte(crlf+".")) {
		return text
	}
	all := append([]byte(crlf), text...)
	return bytes.ReplaceAll(all, []byte(crlf+"."), []byte(crlf+".."))[len(crlf):]
}

// base64Size is how many characters writeBase64 makes of n bytes.
func base64Size(n int) int {
	if n == 0 {
		return 0
	}
	return base64.StdEncoding.EncodedLen(n) + 2*((n-1)/lineBytes)
}

// writeBase64 writes a file in lines of 76 characters, the last without its end.
func writeBase64(w io.Writer, file []byte) error {
	buf := make([]byte, 0, min(base64Size(len(file)), linesAtOnce*(lineChars+2)))
	for len(file) > 0 {
		line := file[:min(lineBytes, len(file))]
		file = file[len(line):]
		buf = base64.StdEncoding.AppendEncode(buf, line)
		if len(file) > 0 {
			buf = append(buf, crlf...)
		}
		if len(file) == 0 || len(buf)+lineChars+2 > cap(buf) {
			if _, err := w.Write(buf); err != nil {
				return fmt.Errorf("writing a file: %w", err)
			}
			buf = buf[:0]
		}
	}
	return nil
}

// assembly gathers content: what is written to it is text.
type assembly struct {
	done content
	text bytes.Buffer
}

// Write implements io.Writer. It never errs.
func (a *assembly) Write(p []byte) (int, error) { return a.text.Write(p) }

// file adds a file.
func (a *assembly) file(file []byte) {
	if len(file) > 0 {
		a.done = append(a.content(), segment{file: file})
	}
}

// content is what was gathered.
func (a *assembly) content() content {
	if a.text.Len() > 0 {
		a.done = append(a.done, segment{text: a.text.Bytes()})
		a.text = bytes.Buffer{}
	}
	return a.done
}
