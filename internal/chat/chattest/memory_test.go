package chattest

import (
	"testing"

	"github.com/postrider/postrider/internal/chat"
)

func TestMemory(t *testing.T) {
	Conformance(t, func(*testing.T) chat.Archive { return NewMemory() })
}
