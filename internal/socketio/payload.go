package socketio

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

// separator stands between the packets of a polling payload.
const separator = 0x1e

// encodePayload joins frames into the body of a polling answer.
func encodePayload(frames []*frame) []byte {
	size := 0
	for _, f := range frames {
		size += 1 + len(f.polled())
	}
	out := make([]byte, 0, size)
	for i, f := range frames {
		if i > 0 {
			out = append(out, separator)
		}
		out = append(out, f.polled()...)
	}
	return out
}

// parsePayload reads the packets of a polling request's body; they share its
// memory.
func parsePayload(body []byte) ([]engPacket, error) {
	var out []engPacket // not made for all at once: many separators may be all there is
	for part := range bytes.SplitSeq(body, []byte{separator}) {
		if len(part) > 0 && part[0] == 'b' {
			data, err := base64.StdEncoding.AppendDecode(nil, part[1:])
			if err != nil {
				return nil, fmt.Errorf("reading a binary packet: %w", err)
			}
			out = append(out, engPacket{kind: typeMessage, binary: true, data: data})
			continue
		}
		p, err := parseText(part)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
