package chaos

import (
	"net/http"
	"time"
)

// settle waits until every job that was accepted, and that of every slot, has
// come to its end; it returns those that have not in the plan's time.
func (h *harness) settle() []string {
	h.t.Helper()
	ids := make([]string, 0, len(h.stream.record()))
	for _, a := range h.stream.record() {
		ids = append(ids, a.id)
	}
	h.tell("waiting until %d jobs are over", len(ids))
	deadline := time.Now().Add(h.plan.Settle)
	var left []string
	slots, asked := 0, time.Time{}
	h.until(func() bool {
		if time.Since(asked) < 500*time.Millisecond {
			return false
		}
		asked = time.Now()
		h.hasten(ids)
		left = h.ids(`SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND state IN ('waiting', 'running')`, ids)
		slots = h.unfinishedSlots()
		return len(left)+slots == 0 || asked.After(deadline)
	})
	h.tell("%d jobs and %d of slots are not over", len(left), slots)
	return left
}

// hasten has mails that wait for another attempt run now, as an operator does
// after an outage: only those that are not due for long, so that no job which
// was lost is found again by it.
func (h *harness) hasten(ids []string) {
	h.t.Helper()
	const long = 5 * time.Second
	for _, id := range h.ids(`SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND state = 'waiting' AND attempts > 0
		AND run_at > $2`, ids, time.Now().Add(long).UnixMilli()) {
		res, err := client.Post("http://"+h.fleet.apis[0].Addr+"/jobs/"+id+"/run", "application/json", http.NoBody)
		if err != nil {
			continue
		}
		res.Body.Close() // 409: it has begun meanwhile
	}
}
