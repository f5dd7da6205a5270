package mail

// SinkProvider is the provider of a mail that was built and checked as any
// other, and then dropped, since that was asked for.
const SinkProvider = "sink"

// sunk is the receipt of such a mail.
func (l letter) sunk() Receipt {
	return Receipt{Code: 250, Reply: "built, checked and dropped, as was asked", MessageID: l.messageID, Provider: SinkProvider}
}
