package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/cache"
)

// XCache is the header that says where an answer comes from; huma looks into
// exported fields only.
type XCache struct {
	From cache.Status `header:"X-Cache" enum:"hit,stale,miss" doc:"hit where the answer was kept, miss where it was made for this request"`
}

// written is a body of type T that is JSON already.
type written[T any] string

// Schema implements huma.SchemaProvider.
func (written[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// text is what encodeJSON writes.
func (w written[T]) text() string { return string(w) }

// textOf is v as the API writes it.
func textOf(v any) (string, error) {
	text, err := encodeJSON(v)
	if err != nil {
		return "", fmt.Errorf("encoding the answer: %w", err)
	}
	return string(text), nil
}

// What answers say of who may keep them: a client that asks again before it
// uses them, or whoever is on the way, a minute in a browser and five in a CDN.
var (
	keptByCaller = []string{"private, no-cache"}
	keptByAll    = []string{"public, max-age=60, s-maxage=300"}
	byCaller     = "Authorization, X-API-Key" // RFC 9110 section 12.5.5
)

// revalidated lets clients of an operation keep its answers, and spares them
// the body of one that they have: a 200 gets an ETag of its bytes (RFC 9110
// section 8.8.3), and is a 304 for who names that by If-None-Match.
func revalidated(ctx huma.Context, next func(huma.Context)) {
	held := &heldAnswer{humaContext: ctx}
	next(held)
	r, w := humachi.Unwrap(ctx)
	if held.status == http.StatusOK {
		w.Header()["Cache-Control"] = keptByCaller
		w.Header().Add("Vary", byCaller)
		if unchanged(w, r, held.body.Bytes()) {
			return
		}
	}
	w.WriteHeader(held.status)
	_, _ = w.Write(held.body.Bytes()) // who cannot be told has gone
}

// unchanged gives an answer its ETag, and sends a 304 where the client has it.
func unchanged(w http.ResponseWriter, r *http.Request, body []byte) bool {
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", tag)
	if !namesTag(r.Header.Get("If-None-Match"), tag) {
		return false
	}
	w.Header().Del("Content-Type") // RFC 9110 section 15.4.5
	w.WriteHeader(http.StatusNotModified)
	return true
}

// namesTag reads If-None-Match, which compares weakly (RFC 9110 section 13.1.2).
func namesTag(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// humaContext keeps the interface's name from hiding its method Context.
type humaContext = huma.Context

// heldAnswer keeps an answer back until it is whole.
type heldAnswer struct {
	humaContext
	status int
	body   bytes.Buffer
}

// Unwrap is for humachi.Unwrap.
func (h *heldAnswer) Unwrap() huma.Context { return h.humaContext }

// SetStatus implements huma.Context.
func (h *heldAnswer) SetStatus(code int) { h.status = code }

// Status implements huma.Context.
func (h *heldAnswer) Status() int { return h.status }

// BodyWriter implements huma.Context.
func (h *heldAnswer) BodyWriter() io.Writer { return &h.body }
