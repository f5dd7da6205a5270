package tasks_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/tasks"
)

func ExampleNotificationSend() {
	payload, recipient, err := tasks.NotificationSend.Canonical([]byte(
		`{"receiverId": "ann", "message": "Your order is on its way", "data": {"order": 7}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(recipient)
	fmt.Println(string(payload))

	_, err = tasks.NotificationSend.Decode([]byte(`{"receiverId": "ann", "everyone": true, "message": "Hi"}`))
	fmt.Println(err)
	// Output:
	// user:ann
	// {"receiverId":"ann","message":"Your order is on its way","type":"info","data":{"order":7}}
	// receiverId or room or everyone must be given, exactly one of them
}

func TestNotificationNamesEachBadField(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      tasks.Notification
		want   []string
		stream string
	}{
		{"user", tasks.Notification{ReceiverID: "ann", Message: "Hi"}, nil, "user:ann"},
		{"room", tasks.Notification{Room: "7", Message: "Hi", Type: "system"}, nil, "room:7"},
		{"everyone", tasks.Notification{Everyone: true, Message: "Hi"}, nil, "everyone"},
		{"nobody", tasks.Notification{Message: "Hi"}, []string{"receiverId"}, ""},
		{"two", tasks.Notification{ReceiverID: "ann", Room: "7", Message: "Hi"}, []string{"receiverId"}, ""},
		{"long receiver", tasks.Notification{ReceiverID: strings.Repeat("x", tasks.MaxStreamName+1), Message: "Hi"}, []string{"receiverId"}, ""},
		{"room with a line break", tasks.Notification{Room: "a\nb", Message: "Hi"}, []string{"room"}, ""},
		{"type", tasks.Notification{ReceiverID: "ann", Message: "Hi", Type: "loud"}, []string{"type"}, ""},
		{"no message", tasks.Notification{ReceiverID: "ann", Message: " "}, []string{"message"}, ""},
		{"long message", tasks.Notification{ReceiverID: "ann", Message: strings.Repeat("x", tasks.MaxNotificationMessage+1)}, []string{"message"}, ""},
		{"message with NUL", tasks.Notification{ReceiverID: "ann", Message: "a\x00"}, []string{"message"}, ""},
		{"long data", tasks.Notification{ReceiverID: "ann", Message: "Hi", Data: json.RawMessage(`"` + strings.Repeat("x", tasks.MaxNotificationData) + `"`)}, []string{"data"}, ""},
		{"several", tasks.Notification{Type: "loud"}, []string{"message", "receiverId", "type"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := badFields(t, c.n.Validate()); !slices.Equal(got, c.want) {
				t.Errorf("bad are %q, want %q", got, c.want)
			}
			if c.stream != "" && c.n.Recipient() != c.stream {
				t.Errorf("the stream is %q, want %q", c.n.Recipient(), c.stream)
			}
		})
	}
	for _, kind := range tasks.NotificationTypes {
		n := tasks.Notification{ReceiverID: "ann", Message: "Hi", Type: kind, Data: json.RawMessage("null")}
		if err := n.Validate(); err != nil || n.Data != nil {
			t.Errorf("type %s: %v, data %s", kind, err, n.Data)
		}
	}
}
