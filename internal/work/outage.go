package work

import (
	"log/slog"
	"sync/atomic"

	"github.com/postrider/postrider/internal/job"
)

// outage logs the beginning and the end of a time in which the database does
// not answer, once each, however many calls fail in between.
type outage struct {
	log  *slog.Logger
	what string // that fails: "claiming jobs"
	away atomic.Bool
}

// note takes a call's result. An error that is no outage is logged each time,
// with the attributes.
func (o *outage) note(err error, attrs ...any) {
	switch {
	case err == nil:
		if o.away.Load() && o.away.CompareAndSwap(true, false) {
			o.log.Info(o.what + " works again")
		}
	case job.CodeOf(err) != job.CodeTemporary:
		o.log.Error(o.what+" failed", append(attrs, "err", err)...)
	case o.away.CompareAndSwap(false, true):
		o.log.Warn(o.what+" fails: the database does not answer", "err", err)
	}
}
