package mail

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

// BenchmarkSend sends over kept connections, and as it would be without them:
//
//	go test -run '^$' -bench Send ./internal/mail
//
// "near" is one connection with STARTTLS and AUTH to a server on this machine,
// "distant" 16 of them over a round trip of 20 ms.
func BenchmarkSend(b *testing.B) {
	for _, place := range []struct {
		name        string
		connections int
		oneWay      time.Duration
	}{{"near", 1, 0}, {"distant", 16, 10 * time.Millisecond}} {
		for _, extension := range []string{"", "PIPELINING"} {
			for _, way := range []struct {
				name     string
				messages int // of a connection
			}{{"dialled", 1}, {"kept", 1 << 30}} {
				name := strings.TrimSuffix(fmt.Sprintf("%s/%s/%s", place.name, way.name, extension), "/")
				b.Run(name, func(b *testing.B) {
					srv := testkit.NewSMTP(b, testkit.SMTPOfferTLS(), testkit.SMTPLogin("ann", "s3cret"), testkit.SMTPExtension(extension))
					addr := srv.Addr()
					if place.oneWay > 0 {
						proxy := testkit.TCPProxy(b, addr)
						proxy.Delay(place.oneWay)
						addr = proxy.Addr
					}
					sender, err := New(Options{
						Config: Config{
							URL:  strings.Replace(srv.URL(), srv.Addr(), addr, 1),
							From: "Shop <shop@example.com>", Timeout: time.Minute,
						},
						Senders: place.connections, Log: testkit.Logger(b), Metrics: prometheus.NewRegistry(),
					})
					if err != nil {
						b.Fatal(err)
					}
					defer sender.Close()
					sender.providers[0].tls.RootCAs = srv.Roots()
					sender.providers[0].pool.wear.messages = way.messages
					measureSends(b, sender, place.connections)
				})
			}
		}
	}
}

// measureSends has so many callers send b.N messages and reports mails/s.
func measureSends(b *testing.B, sender *Sender, callers int) {
	var next sync.Mutex
	left := b.N
	take := func() bool {
		next.Lock()
		defer next.Unlock()
		left--
		return left >= 0
	}
	b.ResetTimer()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for take() {
				if _, err := sender.Send(context.Background(), testMessage(), nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
	b.ReportMetric(0, "ns/op") // says the same, the wrong way round
}

// BenchmarkBuild makes the bytes of a mail with text and HTML.
func BenchmarkBuild(b *testing.B) {
	m := testMessage()
	m.From = "Shop <shop@example.com>"
	m.HTML = "<p>Thanks for signing up.</p>"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(m); err != nil {
			b.Fatal(err)
		}
	}
}
