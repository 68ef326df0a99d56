package worker

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities"
	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/compute"
	"github.com/understudy-dr/understudy/activities/compute/ec2"
	"github.com/understudy-dr/understudy/activities/compute/libvirt"
	"github.com/understudy-dr/understudy/activities/compute/local"
	"github.com/understudy-dr/understudy/activities/files/sources"
	"github.com/understudy-dr/understudy/activities/replica"
	replicafiles "github.com/understudy-dr/understudy/activities/replica/files"
	"github.com/understudy-dr/understudy/activities/replica/litestream"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/copy"
	"github.com/understudy-dr/understudy/activities/volumes/mountpoint"
	"github.com/understudy-dr/understudy/activities/volumes/proof"
	"github.com/understudy-dr/understudy/activities/volumes/s3fs"
	"github.com/understudy-dr/understudy/runbooks"
)

// mountpointProgram is AWS's own way to mount a bucket; where it is installed it is preferred.
const mountpointProgram = "mount-s3"

// machineProviders makes what standbys are made with: machines, volumes, data.
// What they keep outlives the process, and is found again by the next one.
func machineProviders(deps *activities.Deps, site runbooks.Site, objects *s3client.Clients) error {
	here, err := local.New(local.Config{Dir: filepath.Join(site.DataDir, "machines")})
	if err != nil {
		return fmt.Errorf("local machines: %w", err)
	}
	account := awsclient.New(site.AWS)
	cloud := ec2.New(ec2.Config{Account: account})
	hypervisors := libvirt.New(libvirt.Config{})
	deps.Providers = func(p runbooks.Provision) (compute.Provider, error) {
		switch p.Kind {
		case "local":
			return here, nil
		case "ec2":
			return cloud, nil
		case "libvirt":
			return hypervisors, nil
		default:
			return nil, fmt.Errorf("%w: machines of kind %q are not known", compute.ErrRefused, p.Kind)
		}
	}
	state := filepath.Join(site.DataDir, "volumes")
	mounts := volumes.Provider(s3fs.New(s3fs.Config{Clients: objects, State: state}))
	if _, err := exec.LookPath(mountpointProgram); err == nil {
		mounts = mountpoint.New(mountpoint.Config{Clients: objects, State: state})
	}
	byMode := volumes.ByMode{Mounts: mounts, Copies: copy.New(copy.Config{Clients: objects, State: state})}
	deps.Mounter = func(runbooks.Volume) (volumes.Mounter, error) { return byMode, nil }
	deps.Models = proof.New(proof.Config{Clients: objects, File: filepath.Join(state, "proven.json")})
	restored := filepath.Join(site.DataDir, "restored")
	deps.Replicas = map[string]replica.Replica{
		"litestream": litestream.New(litestream.Config{Clients: objects, State: restored}),
		"files":      replicafiles.New(replicafiles.Config{Clients: objects, State: restored}),
	}
	deps.Boot = func(r activities.BootRequest) (string, error) { return bootDocument(r, site.S3) }
	deps.Sources = sources.New(objects)
	deps.Buckets = func(ctx context.Context, bucket string) error {
		client, err := objects.For(bucket)
		if err != nil {
			return err
		}
		_, err = client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
		return err
	}
	deps.StateDir, deps.Budgets = site.DataDir, site.Budgets
	return nil
}
