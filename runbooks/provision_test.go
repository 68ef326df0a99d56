package runbooks_test

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/runbooks"
)

// cold is a runbook with one cold tier that is made by the provision given.
func cold(provision string) string {
	return strings.Replace(minimal, `  - {name: hot, url: "http://127.0.0.1:2", server: hot}`,
		`  - {name: cold, url: "http://{address}:2", server: cold, provision: {`+provision+`}}`, 1)
}

const west = `region: us-west-2, zone: us-west-2a`

func TestMachinesInEC2(t *testing.T) {
	for _, provision := range []string{
		`kind: ec2, profile: asr, root_size: 60, root_rate: 300, command: [/app/start.sh], env: {A: b}, dir: /app, user: asr, placements: [{` + west + `, type: g5.xlarge, image: ami-0123, subnet: s, security_groups: [g], reservation: cr-0123, price: 1.2}]`,
		`kind: ec2, unit: fun-asr.service, keep: stopped, placements: [{` + west + `, instance: i-0123456789abcdef0}, {` + west + `, type: g5.xlarge, image: asr-2512}]`,
		`kind: libvirt, ports: [7860], placements: [{image: asr-2512, type: qemu}]`,
		`kind: libvirt, uri: "qemu+ssh://host/system", pool: images, placements: [{image: asr@3, subnet: "bridge:br0", memory: 2048, cpus: 2}]`,
	} {
		if _, problems := parse(t, cold(provision)); problems.Err() != nil {
			t.Errorf("%s:\n%s", provision, problems.Error())
		}
	}
	for _, c := range []struct{ provision, want string }{
		{`kind: ec2, placements: [{zone: us-west-2a, type: t, image: i}]`, `placements[0].region: the key is missing; kind ec2 needs it`},
		{`kind: ec2, placements: [{region: "Oregon", type: t, image: i}]`, `"Oregon" is no region`},
		{`kind: ec2, placements: [{region: us-west-2, zone: us-east-1a, type: t, image: i}]`, `"us-east-1a" is no zone of region us-west-2`},
		{`kind: ec2, placements: [{` + west + `, image: i}]`, `placements[0].type: the key is missing`},
		{`kind: ec2, placements: [{` + west + `, type: t}]`, `placements[0].image: the key is missing`},
		{`kind: ec2, placements: [{` + west + `, type: t, image: i, reservation: mine}]`, `"mine" is no capacity reservation`},
		{`kind: ec2, placements: [{` + west + `, instance: i-0123456789abcdef0}]`, `a prepared machine is started only with keep: stopped`},
		{`kind: ec2, keep: stopped, placements: [{` + west + `, instance: mine}]`, `"mine" is no instance`},
		{`kind: ec2, keep: stopped, placements: [{` + west + `, instance: i-01234567, reservation: cr-1}]`, `a prepared machine brings its own reservation along`},
		{`kind: ec2, keep: stopped, placements: [{instance: i-01234567}]`, `placements[0].region: the key is missing`},
		{`kind: ec2, keep: stopped, placements: [{` + west + `, type: t, image: i}]`, `no placement names a prepared machine`},
		{`kind: ec2, unit: fun-asr, placements: [{` + west + `, type: t, image: i}]`, `"fun-asr" is no unit; write the whole name`},
		{`kind: ec2, unit: a.service, command: [b], placements: [{` + west + `, type: t, image: i}]`, `write one of the two`},
		{`kind: ec2, command: [], placements: [{` + west + `, type: t, image: i}]`, `provision.command: the list is empty`},
		{`kind: ec2, dir: app, placements: [{` + west + `, type: t, image: i}]`, `"app" is relative`},
		{`kind: ec2, user: "a b", placements: [{` + west + `, type: t, image: i}]`, `"a b" is no user name`},
		{`kind: ec2, root_size: 99999, placements: [{` + west + `, type: t, image: i}]`, `provision.root_size: 99999 is out of range`},
		{`kind: ec2, root_rate: 50, placements: [{` + west + `, type: t, image: i}]`, `provision.root_rate: 50 is out of range; 100 to 300 MiB/s`},
		{`kind: libvirt, placements: [{image: asr@3}]`, `placements[0].subnet: the key is missing; name a network, or the ports`},
		{`kind: libvirt, ports: [1], uri: "qemu+ssh://host/system", placements: [{image: asr@3}]`, `placements[0].subnet: the key is missing; a machine on another host`},
		{`kind: libvirt, ports: [1], placements: [{image: asr@3, type: g5.xlarge}]`, `"g5.xlarge" is no type of kind libvirt`},
		{`kind: local, command: [x], unit: a.service`, `kind local has no such key`},
		{`kind: local, command: [x], root_size: 3`, `kind local has no such key; it belongs to kind ec2`},
		{`kind: local`, `provision.command: the key is missing; kind local needs it`},
	} {
		_, problems := parse(t, cold(c.provision))
		if !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s\nwant %q, got:\n%s", c.provision, c.want, problems.Error())
		}
	}
}

func TestPreparedMachinesDoNotGoWithData(t *testing.T) {
	text := cold(`kind: ec2, keep: stopped, placements: [{`+west+`, instance: i-01234567}]`) + "data: [{kind: litestream, replica: s3://history/asr, path: /a/history.db}]\n"
	if _, problems := parse(t, text); !strings.Contains(problems.Error(), "goes on from the data that it was stopped with") {
		t.Errorf("got:\n%s", problems.Error())
	}
}

func TestReservedPlacesAreTriedTwice(t *testing.T) {
	p := runbooks.Provision{Placements: []runbooks.Placement{{Zone: "a", Reservation: "cr-1"}, {Zone: "b"}, {Zone: "c", Reservation: "cr-2"}}}
	var got []string
	for _, place := range p.Places() {
		got = append(got, place.Text())
	}
	if want := "a (reservation cr-1), a, b, c (reservation cr-2), c"; strings.Join(got, ", ") != want {
		t.Errorf("tried: %q, want %q", strings.Join(got, ", "), want)
	}
	if p.Placements[0].Reservation != "cr-1" {
		t.Error("the runbook was changed")
	}
}

func TestHowAWSIsReached(t *testing.T) {
	const head = "apiVersion: understudy/v1\n"
	site, problems := runbooks.ParseSite("s.yaml", []byte(head+`aws: {access_key: {env: A}, secret_key: {file: /b}, session_token: {env: C}, endpoints: {ec2: "https://ec2.{region}.example.com"}}`))
	if problems.Err() != nil || site.AWS.SecretKey.File != "/b" || site.AWS.Endpoints["ec2"] == "" {
		t.Errorf("%+v\n%v", site.AWS, problems)
	}
	for text, want := range map[string]string{
		`s3: {default: {machine_endpoint: "ftp://x"}}`:                  `s3.default.machine_endpoint: `,
		`s3: {default: {machines: mine}}`:                               `s3.default.machines: "mine" is neither role nor anonymous`,
		`aws: {access_key: {env: A}}`:                                   "access_key and secret_key go together",
		`aws: {session_token: {env: A}}`:                                "a session token belongs to an access key",
		`aws: {access_key: {env: A}, secret_key: {env: B}, profile: p}`: "credentials come from one place",
		`aws: {endpoints: {ec2: "ec2.example.com"}}`:                    `aws.endpoints.ec2: "ec2.example.com" is no usable URL`,
		`aws: {access_key: AKIA0123456789}`:                             "never the secret itself",
	} {
		if _, problems := runbooks.ParseSite("s.yaml", []byte(head+text)); !strings.Contains(problems.Error(), want) {
			t.Errorf("%s\nwant %q, got:\n%s", text, want, problems.Error())
		}
	}
}
