package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Network is several hosts on one machine: network namespaces whose only way to
// each other is a switch within the test process, which carries each packet
// after a delay, and none of a host that is cut off. Nothing of it has a name
// on the machine, so nothing is left behind when the process dies.
//
// It needs Linux, root, and a process that has itself been started in a network
// namespace of its own (SysProcAttr.Cloneflags, CLONE_NEWNET): the test is the
// first host, 10.77.0.1.
type Network struct {
	t     testing.TB
	delay time.Duration
	own   *os.File // the namespace of the test process
	wg    sync.WaitGroup

	mu    sync.RWMutex
	hosts map[netip.Addr]*Host
}

// Host is one of a Network.
type Host struct {
	net   *Network
	addr  netip.Addr
	space *os.File // its namespace
	tun   *os.File // the host's side writes and reads packets here
	inbox chan packet
	cut   atomic.Bool
}

// packet is one on its way to a host.
type packet struct {
	due  time.Time
	data []byte
}

const (
	mtu = 1500
	// inboxSize bounds what is on its way to a host: beyond it packets are lost,
	// as on a switch, and sent again by TCP.
	inboxSize = 4096
)

// NewNetwork makes a network whose packets take the delay, one way. Its first
// host is the test process. It ends with the test.
func NewNetwork(t testing.TB, delay time.Duration) (*Network, *Host) {
	t.Helper()
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatalf("opening the network namespace: %v", err)
	}
	n := &Network{t: t, delay: delay, own: own, hosts: map[netip.Addr]*Host{}}
	t.Cleanup(func() {
		n.mu.Lock()
		for _, h := range n.hosts {
			h.tun.Close()
			close(h.inbox)
			h.space.Close()
		}
		n.hosts = nil
		n.mu.Unlock()
		n.wg.Wait()
		own.Close()
	})
	return n, n.add(func() error { return nil })
}

// Host adds a host.
func (n *Network) Host() *Host {
	n.t.Helper()
	return n.add(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
}

// add makes a host in the namespace that enter leads to.
func (n *Network) add(enter func() error) *Host {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{net: n, addr: netip.AddrFrom4([4]byte{10, 77, 0, byte(len(n.hosts) + 1)}), inbox: make(chan packet, inboxSize)}
	var err error
	n.on(enter, func() { err = h.open() })
	if err != nil {
		n.t.Fatalf("making the host %s (it needs root, and /dev/net/tun): %v", h.addr, err)
	}
	n.hosts[h.addr] = h
	n.wg.Go(h.send)
	n.wg.Go(h.receive)
	return h
}

// on runs do on a thread that has gone through enter, and brings it back. It
// runs on the caller's goroutine, so that do may end the test.
func (n *Network) on(enter func() error, do func()) {
	n.t.Helper()
	runtime.LockOSThread()
	if err := enter(); err != nil {
		runtime.UnlockOSThread()
		n.t.Fatalf("entering a network namespace: %v", err)
	}
	defer func() {
		if err := unix.Setns(int(n.own.Fd()), unix.CLONE_NEWNET); err != nil {
			// The thread stays locked, so that nobody else gets it.
			n.t.Errorf("leaving a network namespace: %v", err)
			return
		}
		runtime.UnlockOSThread()
	}()
	do()
}

// open sets the host up, on a thread in its namespace.
func (h *Host) open() (err error) {
	if h.space, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("opening its namespace: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	// Packets without a header before them (Linux, networking/tuntap).
	request, err := unix.NewIfreq("eth0")
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("making its interface: %w", err)
	}
	h.tun = os.NewFile(uintptr(fd), "/dev/net/tun")
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", h.addr.String() + "/24", "dev", "eth0"},
		{"link", "set", "eth0", "up", "mtu", fmt.Sprint(mtu)},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("running ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// send takes the host's packets to those that they are for.
func (h *Host) send() {
	buffer := make([]byte, mtu)
	for {
		size, err := h.tun.Read(buffer)
		if err != nil {
			return // closed
		}
		to, ok := destination(buffer[:size])
		if !ok || h.cut.Load() {
			continue
		}
		h.net.mu.RLock()
		if other := h.net.hosts[to]; other != nil {
			select {
			case other.inbox <- packet{time.Now().Add(h.net.delay), bytes.Clone(buffer[:size])}:
			default:
			}
		}
		h.net.mu.RUnlock()
	}
}

// destination is the packet's (RFC 791, section 3.1).
func destination(p []byte) (netip.Addr, bool) {
	if len(p) < 20 || p[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(p[16:20])), true
}

// receive hands the host the packets that have arrived.
func (h *Host) receive() {
	for p := range h.inbox {
		time.Sleep(time.Until(p.due))
		if h.cut.Load() {
			continue
		}
		if _, err := h.tun.Write(p.data); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// IP is the host's address.
func (h *Host) IP() string { return h.addr.String() }

// Do runs f with the host's network: what it listens on, and the programs that
// it starts, are on the host. Connections that f makes may be made on another
// goroutine, and come from the test process then. f may end the test.
func (h *Host) Do(f func()) {
	h.net.t.Helper()
	h.net.on(func() error { return unix.Setns(int(h.space.Fd()), unix.CLONE_NEWNET) }, f)
}

// Cut takes the host off the network: packets to it and from it are lost, and
// nobody is told.
func (h *Host) Cut() { h.cut.Store(true) }

// Heal ends a Cut.
func (h *Host) Heal() { h.cut.Store(false) }
