package httpapi

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Nothing that comes is decompressed: a few bytes stay a few bytes.
func TestCompressedBodiesAreRefused(t *testing.T) {
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	if _, err := zip.Write(make([]byte, 2*maxBatchBody)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	s := serve(t, withFiles(t))
	for path, media := range map[string]string{
		"/jobs/send-email": mediaJSON, "/jobs": mediaJSON, "/jobs/batch": mediaJSON, "/jobs/retry": mediaJSON, "/schedules": mediaJSON,
		"/api/notifications": mediaJSON, "/attachments": "application/pdf", "/suppressions/import": mediaCSV,
	} {
		for _, encoding := range []string{"gzip", "deflate", "br", "gzip, identity"} {
			r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(bomb.Bytes()))
			r.Header.Set("Content-Type", media)
			r.Header.Set("Content-Encoding", encoding)
			if a := s.send(r); a.status != http.StatusUnsupportedMediaType || a.header.Get("Accept-Encoding") != "identity" {
				t.Errorf("%s with %s is answered with %s", path, encoding, a.text)
			}
		}
	}
}
