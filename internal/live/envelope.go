package live

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// envelope is what processes tell each other.
type envelope struct {
	// Event is emitted, with Arg, to the sockets in Room; to all when it is empty.
	Event string          `json:"event,omitempty"`
	Room  string          `json:"room,omitempty"`
	Arg   json.RawMessage `json:"arg,omitempty"`
	// Trace is the telemetry.Traceparent that the event belongs to, mostly none.
	Trace string `json:"trace,omitempty"`
	// Aliases are other names of the event, see aliases.go.
	Aliases []string `json:"aliases,omitempty"`
	// Except is a socket that does not get it.
	Except string `json:"except,omitempty"`
	// Revoked has the connections of who it names end.
	Revoked *revocation `json:"revoked,omitempty"`
	// Ended is the fingerprint of a login to the dashboard that was ended.
	Ended string `json:"ended,omitempty"`
}

// newEnvelope is of an event whose argument is encoded here, once for all clients
// there are.
func newEnvelope(room, event string, arg any, aliases ...string) (envelope, error) {
	text, err := json.Marshal(arg)
	if err != nil {
		return envelope{}, fmt.Errorf("encoding %q: %w", event, err)
	}
	return envelope{Event: event, Room: room, Arg: text, Aliases: aliases}, nil
}

// channelName is what the names of the pub/sub channels begin with; a number follows.
const channelName = "postrider:live:"

// clusterChannels are so many on a Redis Cluster, so that its nodes share the
// work: a sharded channel lives on the node of its slot.
const clusterChannels = 8

// channels lists those that there are.
func channels(rdb redis.UniversalClient) []string {
	out := []string{channelName + "0"}
	if sharded(rdb) {
		for i := 1; i < clusterChannels; i++ {
			out = append(out, channelName+strconv.Itoa(i))
		}
	}
	return out
}

// channelOf is the channel of an envelope: those for one room stay in order.
func channelOf(rdb redis.UniversalClient, e envelope) string {
	if !sharded(rdb) {
		return channelName + "0"
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(e.Room)) // it never fails
	return channelName + strconv.Itoa(int(hash.Sum32()%clusterChannels))
}

// sharded tells whether Redis is a Cluster, whose plain pub/sub would send every
// message to every node.
func sharded(rdb redis.UniversalClient) bool {
	_, ok := rdb.(*redis.ClusterClient)
	return ok
}

func (e envelope) encode() ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding an envelope: %w", err)
	}
	return text, nil
}
