package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/fetch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T) *fetch.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGet(t *testing.T) {
	mux := http.NewServeMux()
	body := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), n)) }
	}
	mux.HandleFunc("/small", body(10))
	mux.HandleFunc("/most", body(fetch.MaxBytes))
	mux.HandleFunc("/large", body(fetch.MaxBytes+1))
	mux.Handle("/moved", http.RedirectHandler("/small", http.StatusFound))
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("x"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	for path, want := range map[string]struct {
		size int
		err  string
	}{
		"/small": {10, ""}, "/most": {fetch.MaxBytes, ""}, "/large": {0, "more than"},
		"/moved": {0, "302"}, "/none": {0, "404"}, "/cut": {0, "reading the answer"},
	} {
		got, err := client(t).Get(t.Context(), server.URL+path)
		if len(got) != want.size || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%s: %d bytes, %v; want %d, %q", path, len(got), err, want.size, want.err)
		}
	}
}

// A server that never answers is left when the caller has had enough.
func TestGetLeavesAServerThatHangs(t *testing.T) {
	asked, done := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(done)
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := client(t).Get(ctx, server.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the caller left", err)
	}
	<-done // the server has seen it too
}

// The path of a webhook is often its secret, so no error names it.
func TestErrorsHoldNoURL(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, url := range []string{
		"http://127.0.0.1:1/services/hunter2", "http://ann:hunter2@127.0.0.1:1/?key=hunter2", "http://127.0.0.1:1/\x7fhunter2",
		"https://10.1.2.3/%zz/hunter2", "gopher://127.0.0.1/hunter2", server.URL + "/hunter2",
	} {
		_, err := client(t).Get(t.Context(), url)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
