package feedback

import "testing"

func TestAmazonHosts(t *testing.T) {
	for address, want := range map[string]bool{
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem": true,
		"https://sns.us-gov-west-1.amazonaws.com/a.pem":                       true,
		"https://sns.cn-north-1.amazonaws.com.cn/a.pem":                       true,
		"https://sns.s3.amazonaws.com/a.pem":                                  false, // a bucket named sns
		"https://sns.s3-us-west-2.amazonaws.com/a.pem":                        false,
		"https://sns.us-east-1.amazonaws.com.evil.example/a.pem":              false,
		"https://sns.us-east-1.amazonaws.com@evil.example/a.pem":              false,
		"https://sns.us-east-1.amazonaws.com:8443/a.pem":                      false,
		"http://sns.us-east-1.amazonaws.com/a.pem":                            false,
		"https://sns.us-east-1.amazonaws.com/a.txt":                           false,
	} {
		if got := amazon(address, ".pem"); got != want {
			t.Errorf("%s is taken for Amazon's: %v", address, got)
		}
	}
}
