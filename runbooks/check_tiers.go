package runbooks

import (
	"fmt"
	"strings"
)

func (d *decoder) checkTiers(r *Runbook) {
	if d.known("tiers") && len(r.Tiers) == 0 {
		d.wrong("tiers", "the list is empty; without a standby there is nothing to recover to")
	}
	names, servers := map[string]bool{}, map[string]string{r.Primary.Server: "the primary"}
	for i, t := range r.Tiers {
		path := fmt.Sprintf("tiers[%d]", i)
		if t.Name != "" && names[t.Name] {
			d.wrong(path+".name", "tier %q is there twice; each tier is one rung", t.Name)
		}
		names[t.Name] = true
		if owner := servers[t.Server]; t.Server != "" && owner != "" && t.Traffic == nil {
			d.wrong(path+".server", "%q is already the server of %s; each standby has its own", t.Server, owner)
		}
		servers[t.Server] = "tier " + t.Name
		d.checkTier(path, r, t)
	}
}

func (d *decoder) checkTier(path string, r *Runbook, t Tier) {
	d.checkURL(path+".url", t.URL, "http", "https")
	d.checkName(path+".server", t.Server)
	d.checkFences(path+".fence", t.Fence)
	d.checkData(path+".data", t.Data)
	d.checkBatches(path+".batches", t.Batches)
	if t.Traffic != nil {
		d.checkTraffic(path+".traffic", *t.Traffic)
	}
	need := func(key string, missing bool, why string) {
		if missing && !d.known(join(path, key)) {
			d.wrong(join(path, key), "the key is missing; %s", why)
		}
	}
	need("url", t.URL == "", "without it the standby cannot be asked whether it lives")
	traffic := r.Traffic
	if t.Traffic != nil {
		traffic = *t.Traffic
	}
	need("server", t.Server == "", "it is the standby's name at the load balancer")
	d.checkOwnRecord(path, r, t)
	if t.Server != "" && len(traffic.Servers) > 0 && traffic.Servers[t.Server] == "" && t.Provision == nil {
		d.wrong(path+".server", "traffic.servers has no %q; name its address there", t.Server)
	}
	running := t.Name == TierHot || t.Name == TierWarm
	switch {
	case running && t.Provision != nil:
		d.wrong(path+".provision", "a %s standby runs already; make machines in tier cold or cross-region", t.Name)
	case running && strings.Contains(t.URL, "{address}"):
		d.wrong(path+".url", "{address} stands for a machine that is made; a %s standby has a fixed address", t.Name)
	case !running && t.Name != "":
		need("provision", t.Provision == nil, "a "+t.Name+" standby must be made: kind local, ec2 or libvirt")
	}
	need("activate", t.Name == TierWarm && t.Activate == nil, "a warm standby rests; say which call makes it serve")
	if t.Activate != nil && t.Provision != nil {
		d.wrong(path+".activate", "a machine that is made serves when it has started; activate goes with an instance that runs already")
	}
	if t.Activate != nil {
		d.checkCall(path+".activate.url", t.Activate.URL)
		d.checkCall(path+".activate.undo", t.Activate.Undo)
	}
	need("approval", t.Name == TierCrossRegion && t.Approval == nil, "two sites cannot decide alone: write approval: {roles: [approver]}, or {waived: true} where a third site arbitrates")
	if t.Hold && t.Name != TierHot && t.Name != TierWarm {
		d.wrong(path+".hold", "a machine that is made gets no traffic before it is proven anyway; leave the key out")
	}
	if t.Name == TierHot && !t.Hold && t.Traffic == nil && t.Approval != nil && !t.Approval.Waived {
		d.wrong(path+".hold", "a load balancer that moves to this standby by itself asks nobody for approval; write hold: true, and keep the server disabled there")
	}
	d.checkProvision(path+".provision", t.Provision)
	if t.Provision != nil && t.Provision.Keep == "stopped" && len(r.DataOf(t.Name)) > 0 {
		d.wrong(path+".provision.keep", "a prepared machine goes on from the data that it was stopped with, and data must follow this service; launch from an image instead")
	}
	for i, v := range t.Volumes {
		at := fmt.Sprintf("%s.volumes[%d]", path, i)
		d.checkURL(at+".source", v.Source, "s3")
		if v.Mount != "" && !strings.HasPrefix(v.Mount, "/") {
			d.wrong(at+".mount", "%q is relative; write an absolute path", v.Mount)
		}
	}
	if t.Provision != nil && t.Provision.Host != "" && len(t.Volumes)+len(r.DataOf(t.Name)) > 0 {
		d.wrong(path+".provision.host", "volumes and data are brought to Understudy's own host only; let the command on %s bring them there, and leave volumes and data out", t.Provision.Host)
	}
	if len(t.Volumes) > 0 && t.Provision == nil {
		d.wrong(path+".volumes", "a running standby has its model already; volumes go with provision")
	}
}

// checkCall wants a path at the standby, or a whole URL.
func (d *decoder) checkCall(path, call string) {
	if call != "" && !strings.HasPrefix(call, "/") {
		d.checkURL(path, strings.NewReplacer(EpochMark, "1", FromMark, "1").Replace(call), "http", "https")
	}
}

func (d *decoder) checkData(path string, data []Data) {
	for i, item := range data {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.checkURL(at+".replica", item.Replica, "s3", "file")
		d.checkURL(at+".bucket", item.Bucket, "s3")
		if item.Path != "" && !strings.HasPrefix(item.Path, "/") {
			d.wrong(at+".path", "%q is relative; write an absolute path", item.Path)
		}
	}
}

func (d *decoder) checkBatches(path string, b *Batches) {
	if b != nil {
		d.checkURL(path+".store", b.Store, "s3")
	}
}

func tierNames(r *Runbook) []string {
	var names []string
	for _, t := range r.Tiers {
		names = append(names, t.Name)
	}
	return names
}
