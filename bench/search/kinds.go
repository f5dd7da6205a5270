package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
)

// page is how many mails a page shows, and deep which page is "the 50th".
const (
	page = 50
	deep = 50
)

// kind is a kind of search, as the page offers it.
type kind struct {
	name    string
	prepare func(context.Context, *delivery.Service) (search, error)
}

// search is one of a kind, and tells how many it found.
type search func(context.Context) (int, error)

// kinds lists them for a database of so many mails.
func kinds(jobs int) []kind {
	share := busyShare(jobs)
	someone := func() []string { // but not who is busy
		return []string{address(rand.IntN(people(jobs)/share)*share + 1 + rand.IntN(share-1))}
	}
	busy := []string{busiest}
	day := func(q delivery.Query) delivery.Query {
		q.Since = acceptedAt(rand.IntN(jobs * 9 / 10))
		q.Until = q.Since.Add(24 * time.Hour)
		return q
	}
	return []kind{
		each("address", func() delivery.Query { return delivery.Query{Recipients: someone()} }),
		each("address, of somebody with 10,000 mails", func() delivery.Query { return delivery.Query{Recipients: busy} }),
		onPage("the same, 50th page", delivery.Query{Recipients: busy}),
		each("address and state", func() delivery.Query { return delivery.Query{Recipients: busy, Status: "failed"} }),
		each("address and subject", func() delivery.Query { return delivery.Query{Recipients: busy, Subject: "your order"} }),
		each("address and day", func() delivery.Query { return day(delivery.Query{Recipients: busy}) }),
		each("Message-ID", nil).asMessageID(jobs),
		each("subject of one mail", func() delivery.Query {
			return delivery.Query{Subject: fmt.Sprintf("your order no. %d is on its way", 1+rand.IntN(jobs))}
		}),
		each("subject that all mails begin with", func() delivery.Query { return delivery.Query{Subject: "your order"} }),
		onPage("the same, 50th page", delivery.Query{Subject: "your order"}),
		each("template", func() delivery.Query { return delivery.Query{Template: template(rand.IntN(templates))} }),
		onPage("the same, 50th page", delivery.Query{Template: template(3)}),
		each("template and day", func() delivery.Query { return day(delivery.Query{Template: template(rand.IntN(templates))}) }),
		each("category", func() delivery.Query { return delivery.Query{Category: category} }),
		each("state failed", func() delivery.Query { return delivery.Query{Status: "failed"} }),
		onPage("the same, 50th page", delivery.Query{Status: "failed"}),
		each("state failed, and day", func() delivery.Query { return day(delivery.Query{Status: "failed"}) }),
		each("state done, and day", func() delivery.Query { return day(delivery.Query{Status: "done"}) }),
		each("nothing", func() delivery.Query { return delivery.Query{} }),
		onPage("nothing, 50th page", delivery.Query{}),
	}
}

// each searches for another each time.
func each(name string, query func() delivery.Query) kind {
	return kind{name, func(_ context.Context, s *delivery.Service) (search, error) {
		return func(ctx context.Context) (int, error) { return find(ctx, s, query()) }, nil
	}}
}

// onPage searches for a page that was come to by the cursors of those before it.
func onPage(name string, q delivery.Query) kind {
	return kind{name, func(ctx context.Context, s *delivery.Service) (search, error) {
		at := q
		for range deep - 1 {
			at.Limit = page
			found, err := s.Search(ctx, at)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				return nil, fmt.Errorf("there are fewer than %d pages", deep)
			}
			at.Before = found[len(found)-1].ID
		}
		return func(ctx context.Context) (int, error) { return find(ctx, s, at) }, nil
	}}
}

// asMessageID types a Message-ID into the search, which leads to its mail's story.
func (k kind) asMessageID(jobs int) kind {
	k.prepare = func(_ context.Context, s *delivery.Service) (search, error) {
		return func(ctx context.Context) (int, error) {
			_, id := delivery.Read("<" + string(idOf(1+rand.IntN(jobs))) + "@example.com>")
			story, err := s.Story(ctx, id)
			return len(story.Events), err
		}, nil
	}
	return k
}

func find(ctx context.Context, s *delivery.Service, q delivery.Query) (int, error) {
	q.Limit = page
	found, err := s.Search(ctx, q)
	return len(found), err
}

// idOf is the id of the n-th mail, as fill writes it.
func idOf(n int) job.ID {
	ms := acceptedAt(n).UnixMilli()
	return job.ID(fmt.Sprintf("%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, n))
}
