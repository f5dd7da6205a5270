package httpapi

import (
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Bounds of a connection.
const (
	readHeaderTimeout = 5 * time.Second
	// readTimeout lets 16 MiB come in over 2 Mbit/s and a bit.
	readTimeout = 60 * time.Second
	// writeTimeout counts from the end of the header, so it holds the reading
	// of the body, the work and the answer.
	writeTimeout   = readTimeout + handleTimeout + 30*time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

const (
	// handleTimeout bounds the work on one request, its body having been read.
	handleTimeout = 30 * time.Second
	// slowBody is the age of a request that had its body read from which on its
	// read deadline could pass during the work.
	slowBody = readTimeout - readHeaderTimeout - handleTimeout - 5*time.Second
)

// Server makes the http.Server that a process serves handler with: bounded
// in every direction, with the headers that every answer has, its own complaints
// going to log at debug level, since any stranger's broken connection makes one.
func Server(handler http.Handler, c Config, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           withHeaders(handler, strings.HasPrefix(c.PublicURL, "https:")),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.With("component", "http").Handler(), slog.LevelDebug),
	}
}
