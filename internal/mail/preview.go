package mail

import (
	"bytes"
	"fmt"
	netmail "net/mail"
)

// HeadersOf lists the headers of a message as it would be sent, encoded, for
// people to look at; of one that occurs twice it has the first.
func HeadersOf(m Message) (map[string]string, error) {
	raw, err := Build(m)
	if err != nil {
		return nil, fmt.Errorf("building the preview: %w", err)
	}
	read, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading the preview back: %w", err)
	}
	out := make(map[string]string, len(read.Header))
	for name := range read.Header {
		out[name] = read.Header.Get(name)
	}
	return out, nil
}
