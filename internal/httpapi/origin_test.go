package httpapi

import (
	"net/http"
	"testing"

	"github.com/postrider/postrider/internal/job"
)

// TestOpenAPIHeedsItsOwnPagesOnly posts what a form on a page of another origin
// can post: no body and no header of its own.
func TestOpenAPIHeedsItsOwnPagesOnly(t *testing.T) {
	open := serve(t, withTimetable(t))
	friendly := serve(t, withTimetable(t), func(o *Options) { o.Config.CORSOrigins = Origins{"https://app.example.com"} })
	everyone := serve(t, withTimetable(t), func(o *Options) { o.Config.CORSOrigins = Origins{"*"} })
	foreign := []string{"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site"}
	for _, test := range []struct {
		name   string
		s      *service
		header []string
		want   int
	}{
		{"a program", open, nil, http.StatusOK},
		{"its own page", open, []string{"Origin", "http://localhost", "Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		{"another's page", open, foreign, http.StatusForbidden},
		{"another's page in an old browser", open, []string{"Origin", "https://app.example.com"}, http.StatusForbidden},
		{"a page of no origin", open, []string{"Origin", "null"}, http.StatusForbidden},
		{"a page that CORS allows", friendly, foreign, http.StatusOK},
		{"a page that it does not", friendly, []string{"Origin", "https://other.example.com", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"any page", everyone, foreign, http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.s.call(http.MethodPut, "/schedules/s", `{"type":"noop","cron":"@daily"}`).want(http.StatusOK)
			a := test.s.post("/schedules/s/pause", "", test.header...).want(test.want)
			if test.want == http.StatusForbidden && a.json["code"] != string(job.CodeForbidden) {
				t.Errorf("it is answered with %s", a.text)
			}
			test.s.get("/schedules/s", test.header...).want(http.StatusOK)
		})
	}
}
