package httpapi

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// withFiles gives the API a keeper of files up to 1 KiB.
func withFiles(t testing.TB) func(*Options) {
	t.Helper()
	url := "sqlite:" + filepath.Join(t.TempDir(), "files.db")
	s, err := store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(o *Options) { o.Files = attach.NewKeeper(s.Files(), attach.Config{MaxFile: 1 << 10}) }
}

// upload posts a file as it is.
func (s *service) upload(contentType, content string, header ...string) answer {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/attachments", strings.NewReader(content))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.send(r)
}

// form is a multipart body with one file.
func form(t *testing.T, field, contentType string, content []byte) (kind, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	header := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + field + `"; filename="a.png"`}}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	part, err := w.CreatePart(header)
	if err == nil {
		_, err = part.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

const picture = "\x89PNG\r\n\x1a\n and \x00 so on"

func TestUpload(t *testing.T) {
	s := serve(t, withFiles(t))
	first := s.upload("image/png", picture).want(http.StatusCreated)
	id := first.str("id")
	if len(id) != 64 || first.json["size"] != float64(len(picture)) || first.str("content_type") != "image/png" {
		t.Errorf("it answers %s", first.text)
	}
	kind, body := form(t, "file", "image/gif", []byte(picture))
	again := s.upload(kind, body).want(http.StatusCreated)
	if again.str("id") != id {
		t.Errorf("the same content is %s and %s", id, again.str("id"))
	}
	if got := s.upload("", "no type").want(http.StatusCreated).str("content_type"); got != "application/octet-stream" {
		t.Errorf("a file without a type is %s", got)
	}
	s.upload("text/plain", strings.Repeat("x", 1<<10)).want(http.StatusCreated)
	kind, body = form(t, "file", "", bytes.Repeat([]byte("x"), 1<<10))
	s.upload(kind, body).want(http.StatusCreated)
}

func TestUploadsThatCannotBe(t *testing.T) {
	s := serve(t, withFiles(t))
	big := strings.Repeat("x", 1<<10+1)
	twoKind, twoFiles := form(t, "file", "", []byte("x"))
	_, boundary, _ := strings.Cut(twoKind, "boundary=")
	twoFiles = strings.Replace(twoFiles, "--"+boundary+"--", "--"+boundary+"\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ny\r\n--"+boundary+"--", 1)
	wrongField, wrongBody := form(t, "picture", "", []byte("x"))
	bigKind, bigForm := form(t, "file", "", []byte(big))
	for name, test := range map[string]struct {
		contentType, content string
		status               int
		field                string
	}{
		"too large":        {"text/plain", big, http.StatusRequestEntityTooLarge, "file"},
		"too large a form": {bigKind, bigForm, http.StatusUnprocessableEntity, "file"},
		"two files":        {twoKind, twoFiles, http.StatusUnprocessableEntity, "file"},
		"empty":            {"text/plain", "", http.StatusUnprocessableEntity, "file"},
		"curl's form":      {"application/x-www-form-urlencoded", "x", http.StatusUnsupportedMediaType, ""},
		"no media type":    {"words words", "x", http.StatusUnprocessableEntity, "content_type"},
		"a mail":           {"message/rfc822", "x", http.StatusUnprocessableEntity, "content_type"},
		"another field":    {wrongField, wrongBody, http.StatusUnprocessableEntity, "picture"},
		"no field":         {"multipart/form-data; boundary=x", "--x--\r\n", http.StatusUnprocessableEntity, "file"},
		"no form":          {"multipart/form-data; boundary=x", "x", http.StatusUnprocessableEntity, "file"},
		"half a form":      {bigKind, bigForm[:len(bigForm)/2], http.StatusBadRequest, ""},
		"no boundary":      {"multipart/form-data", "x", http.StatusBadRequest, ""},
	} {
		a := s.upload(test.contentType, test.content)
		if a.status != test.status || test.field != "" && !strings.Contains(a.text, `"field":"`+test.field+`"`) {
			t.Errorf("%s: %s", name, a.text)
		}
	}
	if a := s.upload("text/plain", "x", "Content-Encoding", "gzip"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("compressed: %s", a.text)
	}
	keyed := serve(t, withFiles(t), withKeys(t))
	keyed.upload("text/plain", "x").want(http.StatusUnauthorized)
	keyed.upload("text/plain", "x", "X-API-Key", "reader-secret-0000").want(http.StatusForbidden)
	keyed.upload("text/plain", "x", "X-API-Key", "writer-secret-0000").want(http.StatusCreated)
}

// TestForeignPagesCannotUpload: a form of another origin needs no leave of CORS.
func TestForeignPagesCannotUpload(t *testing.T) {
	s := serve(t, withFiles(t))
	kind, body := form(t, "file", "", []byte("x"))
	s.upload(kind, body, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").want(http.StatusForbidden)
}
