package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/limit"
)

func TestQuota(t *testing.T) {
	const most = 5
	a, b, unchecked := limiters(t, limit.Config{
		Key:    limit.Rate{N: 1000, Per: time.Hour},
		Quotas: limit.Quotas{"writer": {{N: most, Per: 24 * time.Hour}}, "other": {{N: 100, Per: 24 * time.Hour}}},
	})
	two := `{"to":["a@example.com","b@example.com"],"subject":"x","text":"x"}`
	admitted, refused := 0, 0
	for range 8 {
		for _, s := range []*service{a, b} {
			got := s.post("/jobs/send-email", two, "X-API-Key", "writer-secret-0000")
			switch got.status {
			case http.StatusAccepted:
				admitted += 2
			case http.StatusTooManyRequests:
				refused++
				got.wantProblem()
				if wait, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || wait < 1 || wait > 86400 {
					t.Errorf("it is to come back after %q", got.header.Get("Retry-After"))
				}
				if got.str("code") != "rate_limited" || !strings.Contains(got.str("detail"), "5 a day") {
					t.Errorf("the refusal is %s", got.text)
				}
				policy, left := got.header.Get("RateLimit-Policy"), got.header.Get("RateLimit")
				if policy != `"key";q=1000;w=3600, "jobs-per-day";q=5;w=86400` || !strings.Contains(left, `"jobs-per-day";r=1;t=`) ||
					got.header.Get("RateLimit-Limit") != "5" || got.header.Get("RateLimit-Remaining") != "1" || got.header.Get("RateLimit-Reset") == "" {
					t.Errorf("the headers are %v", got.header)
				}
			default:
				t.Fatalf("the answer is %d: %s", got.status, got.text)
			}
		}
	}
	// A busy machine may let Redis miss its 100 ms, and a day may end meanwhile.
	if n := unchecked(); admitted < most-1 || admitted > 2*most+2*n || refused == 0 {
		t.Errorf("%d jobs were admitted, %d unchecked; %d refusals", admitted, n, refused)
	}

	// What makes no job costs nothing.
	key := []string{"X-API-Key", "other-secret-00000"}
	a.post("/jobs", `{"type":"none"}`, key...).want(http.StatusUnprocessableEntity)
	a.post("/jobs/batch", `{"jobs":[{"type":"none"},{"type":"none"}]}`, key...).want(http.StatusAccepted)
	for range 3 {
		a.post("/jobs", `{"type":"noop"}`, append([]string{"Idempotency-Key", "once"}, key...)...).want(http.StatusAccepted)
	}
	if got := a.post("/jobs", `{"type":"noop"}`, key...).want(http.StatusAccepted); unchecked() == 0 && got.header.Get("RateLimit-Remaining") != "98" {
		t.Errorf("after two jobs the headers are %v", got.header)
	}
	// A key without a quota is told of its requests.
	if got := a.post("/jobs", `{"type":"noop"}`, "X-API-Key", "boss-secret-000000").want(http.StatusAccepted); got.header.Get("RateLimit-Limit") != "1000" || strings.Contains(got.header.Get("RateLimit"), "jobs") {
		t.Errorf("without a quota the headers are %v", got.header)
	}
}
