package chat_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// archives are what is measured.
var archives = map[string]func(b *testing.B) store.Chats{
	"sqlite":   func(b *testing.B) store.Chats { return sqlite(b, store.Options{}) },
	"postgres": func(b *testing.B) store.Chats { return open(b, testkit.Postgres(b), store.Options{}) },
}

// BenchmarkSend is of messages with a client id, by 64 senders to 10 rooms.
func BenchmarkSend(b *testing.B) {
	for name, archive := range archives {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, testkit.Redis(b).Client(), archive(b))
			var n atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					_, _, err := r.Send(b.Context(), chat.Draft{Room: fmt.Sprint("room-", i%10), User: "ann", ClientID: fmt.Sprint(i), Text: "a message as people write them"})
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkArchive is of an archive of 10 rooms.
func BenchmarkArchive(b *testing.B) {
	for name, archive := range archives {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, testkit.Redis(b).Client(), archive(b))
			for i := range b.N {
				r.send(fmt.Sprint("room-", i%10), "ann", "", "a message as people write them")
			}
			b.ResetTimer()
			if n, _, err := r.Run(b.Context(), time.Now().Add(time.Hour)); err != nil || n != b.N {
				b.Fatalf("archived %d of %d: %v", n, b.N, err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
