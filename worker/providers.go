package worker

import (
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/activities/chat/slack"
	"github.com/understudy-dr/understudy/activities/chat/wecom"
	"github.com/understudy-dr/understudy/activities/epoch"
	epochetcd "github.com/understudy-dr/understudy/activities/epoch/etcd"
	"github.com/understudy-dr/understudy/activities/epoch/s3store"
	"github.com/understudy-dr/understudy/activities/etcdclient"
	"github.com/understudy-dr/understudy/activities/fence"
	"github.com/understudy-dr/understudy/activities/files"
	"github.com/understudy-dr/understudy/activities/files/sources"
	"github.com/understudy-dr/understudy/activities/probe"
	"github.com/understudy-dr/understudy/activities/probe/httpprobe"
	"github.com/understudy-dr/understudy/activities/probe/tcpprobe"
	"github.com/understudy-dr/understudy/activities/probe/witness"
	"github.com/understudy-dr/understudy/activities/reports"
	"github.com/understudy-dr/understudy/activities/reports/disk"
	reportss3 "github.com/understudy-dr/understudy/activities/reports/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/activities/settings"
	settingsetcd "github.com/understudy-dr/understudy/activities/settings/etcd"
	"github.com/understudy-dr/understudy/activities/settings/httpsource"
	"github.com/understudy-dr/understudy/activities/speech"
	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/command"
	"github.com/understudy-dr/understudy/activities/traffic/haproxy"
	"github.com/understudy-dr/understudy/activities/traffic/nginx"
	"github.com/understudy-dr/understudy/activities/traffic/route53"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/workflows/printing"
)

// witnessWay is how long the way to a witness and back may take: it is asked inside a workflow task.
const witnessWay = 150 * time.Millisecond

// settingsTimeout bounds a config center that hangs. It is asked at the gate of
// a hot standby, where every millisecond is an outage; the last known value is
// as good there.
const settingsTimeout = 250 * time.Millisecond

// providers makes everything that activities work with, as the site file says.
func providers(site runbooks.Site, library func() *runbooks.Library) (activities.Deps, error) {
	objects := s3client.New(site.S3)
	prober := probe.ByKind(httpprobe.New(), tcpprobe.New())
	deps := activities.Deps{
		Library:   library,
		Prober:    prober,
		Balancers: balancers(awsclient.New(site.AWS)),
		Canaries:  speech.NewCanaryRunner(speech.NewClient()),
		Files:     files.NewCache(files.CacheConfig{Opener: sources.New(objects), Dir: filepath.Join(site.DataDir, "files")}),
		Settings: settings.NewReader(settings.ReaderConfig{
			Sources:      map[string]settings.Source{"etcd": settingsetcd.New(), "http": httpsource.New()},
			ConfigCenter: site.ConfigCenter,
			Dir:          filepath.Join(site.DataDir, "settings"),
			Timeout:      settingsTimeout,
		}),
		Fences:  fence.New(fence.Config{Secret: secrets.Resolve, Prober: prober}),
		Links:   site.Links,
		Secrets: site.Secrets(),
	}
	if err := machineProviders(&deps, site, objects); err != nil {
		return deps, err
	}
	var err error
	deps.Batches = batchTools(site, objects)
	if deps.Engine, err = engineName(site.DataDir); err != nil {
		return deps, err
	}
	if deps.Witnesses, err = witnesses(site.Witnesses); err != nil {
		return deps, err
	}
	if site.Epochs != nil {
		deps.EpochPatience = site.Epochs.Patience.D()
	}
	if deps.Epochs, err = epochs(site.Epochs, objects); err != nil {
		return deps, err
	}
	if deps.Reports, err = reportStores(site, objects); err != nil {
		return deps, err
	}
	deps.Print = printing.Files
	deps.Chats, err = chats(site.Chat)
	return deps, err
}

// balancers makes a load balancer for each traffic section, once.
func balancers(account *awsclient.Account) func(runbooks.Traffic) (traffic.Balancer, error) {
	var mu sync.Mutex
	made := map[string]traffic.Balancer{}
	return func(t runbooks.Traffic) (traffic.Balancer, error) {
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprintf("%+v", t)
		if b, ok := made[key]; ok {
			return b, nil
		}
		b, err := newBalancer(t, account)
		if err == nil {
			made[key] = b
		}
		return b, err
	}
}

func newBalancer(t runbooks.Traffic, account *awsclient.Account) (traffic.Balancer, error) {
	switch t.Kind {
	case "haproxy":
		return haproxy.New(t)
	case "nginx":
		return nginx.New(t)
	case "route53":
		return route53.New(route53.Config{Traffic: t, Account: account})
	case "command":
		return command.New(t)
	default:
		return nil, fmt.Errorf("%w: traffic of kind %s is not driven yet", traffic.ErrRefused, t.Kind)
	}
}

func witnesses(all []runbooks.Witness) ([]activities.Witness, error) {
	var made []activities.Witness
	for _, w := range all {
		key, err := secrets.Resolve(w.Key)
		if err != nil {
			return nil, fmt.Errorf("key of witness %s: %w", w.Name, err)
		}
		prober, err := witness.New(witness.Config{URL: w.URL, Key: []byte(key), Way: witnessWay})
		if err != nil {
			return nil, fmt.Errorf("witness %s: %w", w.Name, err)
		}
		made = append(made, activities.Witness{Name: w.Name, Prober: prober})
	}
	return made, nil
}

func epochs(store *runbooks.EpochStore, objects *s3client.Clients) (epoch.Store, error) {
	if store == nil {
		return nil, nil
	}
	switch store.Kind {
	case "s3":
		at, client, err := bucketOf(store.URL, objects)
		if err != nil {
			return nil, fmt.Errorf("epochs.url: %w", err)
		}
		return s3store.New(client, at), nil
	case "etcd":
		return epochetcd.New(etcdclient.New(etcdclient.Config{Endpoints: store.Endpoints, User: store.User, Password: store.Password}), store.Prefix), nil
	default:
		return nil, fmt.Errorf("epochs.kind %s is not known", store.Kind)
	}
}

func reportStores(site runbooks.Site, objects *s3client.Clients) (reports.Store, error) {
	local := disk.New(filepath.Join(site.DataDir, "reports"))
	if site.Reports == "" {
		return local, nil
	}
	at, client, err := bucketOf(site.Reports, objects)
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return reports.Places{{Name: "disk", Store: local}, {Name: "s3", Store: reportss3.New(client, at)}}, nil
}

func chats(c runbooks.Chat) (map[string]chat.Messenger, error) {
	made := map[string]chat.Messenger{}
	if c.Slack != nil {
		token, err := secrets.Resolve(c.Slack.Token)
		if err != nil {
			return nil, fmt.Errorf("chat.slack.token: %w", err)
		}
		if made["slack"], err = slack.New(slack.Config{Token: token, APIURL: c.Slack.APIURL}); err != nil {
			return nil, fmt.Errorf("chat.slack: %w", err)
		}
	}
	if c.WeCom != nil {
		key, err := secrets.Resolve(c.WeCom.Key)
		if err != nil {
			return nil, fmt.Errorf("chat.wecom.key: %w", err)
		}
		if made["wecom"], err = wecom.New(wecom.Config{Key: key, APIURL: c.WeCom.APIURL}); err != nil {
			return nil, fmt.Errorf("chat.wecom: %w", err)
		}
	}
	return made, nil
}

// bucketOf finds the client for an s3://bucket/prefix.
func bucketOf(url string, objects *s3client.Clients) (s3client.Location, *s3.Client, error) {
	at, err := s3client.ParseURL(url)
	if err != nil {
		return at, nil, err
	}
	client, err := objects.For(at.Bucket)
	return at, client, err
}
