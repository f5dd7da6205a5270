package testkit

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 (RFC 2195) is defined with it
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// auth checks a login by PLAIN (RFC 4616), LOGIN or CRAM-MD5 (RFC 2195).
func (c *smtpSession) auth(rest string) error {
	action, scripted := c.server.reached(SMTPAtAuth)
	if scripted {
		if err := c.perform(action); err != nil || action.code != 235 {
			return err
		}
		c.user = c.server.user
		return nil
	}
	mechanism, initial, _ := strings.Cut(rest, " ")
	user, ok, err := "", false, error(nil)
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		user, ok, err = c.authPlain(initial)
	case "LOGIN":
		user, ok, err = c.authLogin()
	case "CRAM-MD5":
		user, ok, err = c.authCRAM()
	default:
		return c.reply(504, "5.5.4 mechanism not offered")
	}
	switch {
	case err != nil:
		return err
	case !ok:
		return c.reply(535, "5.7.8 authentication credentials invalid")
	}
	c.user = user
	return c.reply(235, "2.7.0 welcome")
}

func (c *smtpSession) authPlain(initial string) (user string, ok bool, err error) {
	if initial == "" {
		if initial, err = c.challenge(""); err != nil {
			return "", false, err
		}
	}
	decoded, err := base64.StdEncoding.DecodeString(initial)
	if err != nil {
		return "", false, nil // malformed: not a login
	}
	fields := strings.Split(string(decoded), "\x00")
	if len(fields) != 3 {
		return "", false, nil
	}
	return fields[1], fields[1] == c.server.user && fields[2] == c.server.password, nil
}

func (c *smtpSession) authLogin() (user string, ok bool, err error) {
	var answers [2]string
	for i, prompt := range []string{"Username:", "Password:"} {
		line, err := c.challenge(prompt)
		if err != nil {
			return "", false, err
		}
		decoded, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return "", false, nil
		}
		answers[i] = string(decoded)
	}
	return answers[0], answers[0] == c.server.user && answers[1] == c.server.password, nil
}

func (c *smtpSession) authCRAM() (user string, ok bool, err error) {
	nonce := "<" + rand.Text() + "@mail.test>"
	line, err := c.challenge(nonce)
	if err != nil {
		return "", false, err
	}
	decoded, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return "", false, nil
	}
	user, digest, _ := strings.Cut(string(decoded), " ")
	mac := hmac.New(md5.New, []byte(c.server.password))
	mac.Write([]byte(nonce))
	return user, user == c.server.user && digest == hex.EncodeToString(mac.Sum(nil)), nil
}

func (c *smtpSession) challenge(text string) (answer string, err error) {
	if err := c.reply(334, base64.StdEncoding.EncodeToString([]byte(text))); err != nil {
		return "", err
	}
	line, err := c.in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
