package tasks

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// everything has a field of each kind that a payload may have.
type everything struct {
	Text   string            `json:"text"`
	Whole  int64             `json:"whole,omitempty"`
	Small  uint8             `json:"small"`
	Number float64           `json:"number"`
	Yes    bool              `json:"yes"`
	List   []string          `json:"list"`
	Map    map[string]int    `json:"map"`
	Bytes  []byte            `json:"bytes"`
	Raw    json.RawMessage   `json:"raw"`
	Any    any               `json:"any"`
	At     time.Time         `json:"at"`
	Quoted int               `json:"quoted,string"`
	Maybe  *everything       `json:"maybe"`
	Array  [2]int            `json:"array"`
	Parts  []struct{ A int } `json:"parts"`
	Untold string            `json:"-"`
	Plain  string
	embedded
}

type embedded struct {
	Inner string `json:"inner"`
}

// FuzzQuick proves that what is decoded quickly is what encoding/json makes of
// it, and nothing that strict refuses.
func FuzzQuick(f *testing.F) {
	for _, seed := range []string{
		`{}`, ``, ` `, `null`, `[]`, `{"text":"a","text":"b"}`, `{"TEXT":"case"}`, `{"unknown":1}`, `{"text":"a"} x`, `{"text":"a"}{}`,
		`{"text":null,"whole":null,"map":null,"list":null,"any":null,"raw":null,"maybe":null}`,
		`{"whole":1.0}`, `{"whole":1e2}`, `{"small":256}`, `{"number":1e400}`, `{"number":"1"}`, `{"yes":"true"}`,
		`{"list":["a",null]}`, `{"map":{"a":1,"A":2,"a":3}}`, `{"bytes":"aGk="}`, `{"bytes":"aGk"}`, `{"bytes":[1,2]}`, `{"bytes":"a\nGk="}`,
		`{"raw":{"a" : [1, 2]}}`, `{"any":{"a":[1,"b",null,true]}}`, `{"at":"2026-01-02T03:04:05Z"}`, `{"at":"2026-01-02"}`,
		`{"quoted":"7"}`, `{"quoted":7}`, `{"quoted":""}`, `{"maybe":{"text":"in"}}`, `{"array":[1]}`, `{"array":[1,2,3]}`, `{"parts":[{"a":1}]}`,
		`{"-":"x"}`, `{"Untold":"x"}`, `{"plain":"x","inner":"y"}`, `{"text":"\ud800"}`, `{"text":"\u0000"}`, "{\"text\":\"\xff\"}", "{\"raw\":\"\xff\"}",
		"\xef\xbb\xbf{}", `{"text":"tab	"}`, `{"any":1e400}`, `{"any":{"a":1,"a":2}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var fast, slow everything
		if !quick(raw, &fast) {
			return
		}
		if err := strict(raw, &slow); err != nil {
			t.Fatalf("%q is taken quickly, and strictly refused: %v", raw, err)
		}
		if !reflect.DeepEqual(fast, slow) {
			t.Errorf("%q is quickly\n%+v and strictly\n%+v", raw, fast, slow)
		}
	})
}

// TestQuick: what is common is decoded quickly.
func TestQuick(t *testing.T) {
	for _, raw := range []string{`{}`, ` {"text":"a<b>ü","number":1.5,"list":["a"],"bytes":"aGk="} `} {
		if !quick([]byte(raw), &everything{}) {
			t.Errorf("%s is not", raw)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := []byte(`{"sleep_ms":0,"pad":"Thanks for signing up......................................................................"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Noop.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
