package httpapi

import (
	"reflect"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// FuzzPlain holds that what is taken at a glance is what the schema allows, for
// every request that has a decoder.
func FuzzPlain(f *testing.F) {
	for _, body := range []string{
		shortMail, `{}`, `{"type":"noop"}`, `{"type":"noop","payload":{}}`, ` { "type" : "noop" , "delay" : 10 } `,
		`{"type":"noop","payload":{"a":[1,"}",{"b":"\"]"}],"c":true,"n":null}}`, `{"type":"noop","payload":{"a":1e400}}`,
		`{"type":"noop","payload":[123456789012345678901234567890]}`, `{"type":"noop","payload":null}`, `{"type":"noop","payload":true}`,
		`{"type":"noop","delay":-1}`, `{"type":"noop","delay":31622400001}`, `{"type":"noop","delay":1.0}`, `{"type":"noop","delay":01}`,
		`{"type":"noop","delay":1e3}`, `{"type":"noop","delay":"1"}`, `{"type":"noop","type":"noop"}`, `{"Type":"noop"}`, `{"\u0074ype":"noop"}`,
		`{"type":"noop","run_at":"2026-07-01T09:30:00Z"}`, `{"type":"noop","run_at":"2026-07-01 09:30"}`, `{"type":"noop","run_at":"2026-07-01T9:30:00,5Z"}`,
		`{"type":null}`, `{"type":"noop"}x`, `{"type":"noop"`, `{"type":"noop",}`, `{"type" "noop"}`, `{"type":"a","nosuch":1}`,
		`{"receiverId":"42","message":"m","type":"info","everyone":false}`, `{"message":"m","type":"Info"}`, `{"message":"m","everyone":true,"data":3}`,
		`{"message":"m","type":"\u0069nfo"}`, `{"email":"a@example.com","subject":"s","message":"\ud800","priority":"bulk"}`,
		`{"to":"a@example.com","subject":"s"}`, `{"outcome":"done"}`, `{"outcome":"Done"}`, `{"name":"n","cron":"@daily","type":"noop"}`,
	} {
		f.Add(body)
	}
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	checks := []func(*testing.T, []byte) bool{
		sameAsJudged(newDecoder[emailRequest](registry)), sameAsJudged(newDecoder[notificationRequest](registry)),
		sameAsJudged(newDecoder[jobRequest](registry)), sameAsJudged(newDecoder[resolveRequest](registry)),
		sameAsJudged(newDecoder[scheduleRequest](registry)),
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, check := range checks {
			check(t, []byte(body))
		}
	})
}

func sameAsJudged[T any](d decoder[T]) func(*testing.T, []byte) bool {
	return func(t *testing.T, raw []byte) bool {
		got, err := d.decode(raw)
		want, wantErr := d.judge(raw)
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%T: %q is read as %+v, %v, and judged to be %+v, %v", got, raw, got, err, want, wantErr)
		}
		return d.shape.takes(raw)
	}
}

// TestPlainIsMost holds that the usual requests are taken at a glance: else
// nothing but speed would tell.
func TestPlainIsMost(t *testing.T) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	for _, taken := range []bool{
		sameAsJudged(newDecoder[emailRequest](registry))(t, []byte(shortMail)),
		sameAsJudged(newDecoder[emailRequest](registry))(t, []byte(`{"email":"a@example.com","subject":"s","message":"say \"m\"","delay":10,"priority":"bulk"}`)),
		sameAsJudged(newDecoder[notificationRequest](registry))(t, []byte(`{"receiverId":"42","type":"success","message":"m","data":{"order":1001}}`)),
		sameAsJudged(newDecoder[jobRequest](registry))(t, []byte(`{"type":"noop","payload":{"pad":"x"},"run_at":"2026-07-01T09:30:00Z"}`)),
	} {
		if !taken {
			t.Error("a usual request is left to the schema")
		}
	}
}
