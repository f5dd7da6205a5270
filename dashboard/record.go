package dashboard

import (
	"bytes"
	"maps"
	"net/http"
)

// recorded is an answer kept in memory.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// record serves a request into memory.
func record(h http.Handler, r *http.Request) *recorded {
	got := &recorded{header: http.Header{}}
	h.ServeHTTP(got, r)
	if got.status == 0 {
		got.status = http.StatusOK
	}
	return got
}

// replay gives the answer to who asked.
func (r *recorded) replay(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) // who has left needs no answer
}

// Header implements http.ResponseWriter.
func (r *recorded) Header() http.Header { return r.header }

// Write implements http.ResponseWriter.
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }

// WriteHeader implements http.ResponseWriter.
func (r *recorded) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}
