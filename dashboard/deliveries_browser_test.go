package dashboard

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/job"
)

// TestDeliveriesInBrowser looks at the pages as people do, on a phone too.
func TestDeliveriesInBrowser(t *testing.T) {
	m := newMailRig(t)
	sent := m.put("user@example.com", "Your receipt no. 17", "receipt", 0)
	o := job.Succeeded("main (mx.example.com:25): 2.0.0 OK")
	o.ReplyCode = 250
	m.settle(sent, o)
	failed := m.put("other-person-with-a-long-name@subdomain.example.com", "A rather long subject of a newsletter that goes on and on", "news", 0)
	m.settle(failed, job.PermanentFailure("550 5.1.1 <other-person-with-a-long-name@subdomain.example.com> unknown"))
	m.put("later@example.com", "Later", "news", time.Hour)

	b := openTab(t)
	b.login(m.rig, "ann")
	b.Do(chromedp.Navigate(m.url + "/admin/deliveries"))
	b.shots("deliveries")
	b.Do(chromedp.Navigate(m.url + deliveryPath(failed)))
	b.shots("delivery")
	b.Do(chromedp.Navigate(m.url + "/admin"))
	b.shots("objectives")
}
