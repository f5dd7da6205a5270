package socketio

import (
	stdjson "encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// What one client may say, others can be told, and the handler can read.
func TestWhatIsTakenCanBeGiven(t *testing.T) {
	for _, said := range []string{
		`{"a":1,"a":2}`,                           // JSON.parse takes the last
		`"half an emoji: \ud83d"`,                 // "😀".slice(0, 1), as JSON.stringify writes it
		`{"\udc00":["\ud800\ud800",{"":1,"":2}]}`, // and anywhere else
	} {
		name, args, err := parseEvent([]byte(`["say",`+said+`]`), nil)
		if err != nil || name != "say" || args.Len() != 1 {
			t.Errorf("%s is taken as %q: %v", said, name, err)
			continue
		}
		var read any
		if err := args.Bind(&read); err != nil {
			t.Errorf("%s cannot be read: %v", said, err)
		}
		frames, err := encodeEvent("/", "said", 0, false, []any{args.Raw(0)})
		if err != nil {
			t.Errorf("%s cannot be given: %v", said, err)
			continue
		}
		text := strings.TrimPrefix(string(frames[0].wire[frames[0].head:]), "42")
		if !stdjson.Valid([]byte(text)) || !utf8.ValidString(text) {
			t.Errorf("%s is given as %q", said, text)
		}
	}
}
