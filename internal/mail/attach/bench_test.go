package attach_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/store"
)

// BenchmarkFiles sends 20 mails at a time, each with a file of 20 MB of its own
// that is stored in SQLite, and tells the most memory that the process had of the
// system's, the server that throws the mails away and the database included:
//
//	go test -run '^$' -bench Files -benchtime 3x ./internal/mail/attach
func BenchmarkFiles(b *testing.B) {
	const mails, size = 20, 20_000_000
	s, err := store.Open(b.Context(), store.Config{URL: "sqlite:" + filepath.Join(b.TempDir(), "files.db"), AutoMigrate: true}, slog.New(slog.DiscardHandler), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	k := attach.NewKeeper(s.Files(), attach.Config{MaxFile: attach.MaxTotal})
	var ids []string
	for i := range mails {
		f, err := k.Put(b.Context(), "shop", "", append(make([]byte, size-1), byte(i)))
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, f.ID)
	}
	sender, err := mail.New(mail.Options{
		Config:  mail.Config{URL: "smtp://" + discard(b) + "?tls=none", From: "a@example.com", Timeout: 10 * time.Minute},
		Senders: mails, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer sender.Close()
	debug.FreeOSMemory()
	stop := watchMemory(b)
	b.SetBytes(mails * size)
	for b.Loop() {
		var all sync.WaitGroup
		for i, id := range ids {
			all.Go(func() {
				if err := sendFile(b.Context(), k, sender, fmt.Sprint(i), id); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
	}
	b.ReportMetric(float64(stop())/1e6, "peak-MB")
}

// sendFile sends a mail with a stored file, when there is room for that.
func sendFile(ctx context.Context, k *attach.Keeper, sender *mail.Sender, id, file string) error {
	for {
		files, release, err := k.Fetch(ctx, []string{file})
		if job.CodeOf(err) == job.CodeRateLimited {
			continue
		}
		if err != nil {
			return err
		}
		defer release()
		_, err = sender.Send(ctx, mail.Message{
			ID: id, Rcpt: "b@example.com", Subject: "File", Text: "Hello.",
			Attachments: []mail.Attachment{{Name: "file.bin", Content: files[file]}},
		}, nil)
		return err
	}
}

// watchMemory returns what ends it and tells the most memory that there was, in
// bytes.
func watchMemory(b *testing.B) (stop func() uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	var most uint64
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(samples)
			most = max(most, samples[0].Value.Uint64()-samples[1].Value.Uint64())
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 { close(quit); <-ended; return most }
}

// discard is the address of a server that takes every mail and keeps none.
func discard(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return nowhere{}, nil }))
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	b.Cleanup(func() {
		_ = srv.Close()
		<-ended
	})
	return l.Addr().String()
}

type nowhere struct{}

func (nowhere) Mail(string, *smtp.MailOptions) error { return nil }
func (nowhere) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (nowhere) Reset()                               {}
func (nowhere) Logout() error                        { return nil }
func (nowhere) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
