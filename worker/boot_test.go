package worker

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/runbooks"
)

// Machines may reach a store at another address than Understudy does.
func TestABootDocumentNamesTheEndpointOfMachines(t *testing.T) {
	request := activities.BootRequest{
		Order: compute.Order{Key: "k", Service: "asr", Epoch: 7, Provision: runbooks.Provision{Kind: "libvirt", Command: []string{"/bin/asr"}}},
		Preparation: activities.Preparation{
			Volumes: []runbooks.Volume{{Source: "s3://models/asr", Mount: "/models/asr"}, {Source: "s3://west/asr", Mount: "/models/west"}},
			Data:    []runbooks.Data{{Kind: "litestream", Replica: "s3://models/history", Path: "/data/history.db"}}, From: 3,
		},
	}
	text, err := bootDocument(request, map[string]runbooks.S3{
		"default": {Endpoint: "http://127.0.0.1:9000", MachineEndpoint: "http://10.0.2.2:9000", Machines: "/etc/login"},
		"west":    {Endpoint: "http://192.0.2.7:9000", Buckets: []string{"west"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"models\tasr\t/models/asr", "http://10.0.2.2:9000\tus-east-1\thost\t/etc/login", "http://192.0.2.7:9000\tus-east-1\thost\trole", `"endpoint": "http://10.0.2.2:9000"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the document lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "127.0.0.1") {
		t.Errorf("the document has an address that only this host knows:\n%s", text)
	}
}
