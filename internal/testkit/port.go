package testkit

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// freePort returns a TCP port of 127.0.0.1 that nobody listens on. It lies
// below the range from which Linux and macOS take the ports of outgoing
// connections (32768 and 49152 up): a port asked of the kernel could be given
// to a connection before the server has bound it.
func freePort() (int, error) {
	const low, high = 10_000, 32_000
	for range 1000 {
		port := low + rand.IntN(high-low)
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		l.Close()
		return port, nil
	}
	return 0, errors.New("no free port found on 127.0.0.1")
}

// localhost is the address of this machine to itself.
const localhost = "127.0.0.1"

func loopback(port int) string { return net.JoinHostPort(localhost, strconv.Itoa(port)) }
