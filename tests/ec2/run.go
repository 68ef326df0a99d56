package ec2

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxToken is the longest client token, in ASCII characters.
	maxToken = 64
	// maxUserData is the most user data, in bytes before base64.
	maxUserData = 16 << 10
)

var imageID = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)

// runInstances launches one instance, or finds the one that the client token has launched.
func (s *Server) runInstances(q *request) (any, *refusal) {
	i, why := q.readLaunch()
	if why != nil {
		return nil, why
	}
	if why := q.allow(q.launchAccess(i)...); why != nil {
		return nil, why
	}
	if why := q.dryRun(); why != nil {
		return nil, why
	}
	known, why := q.token(i)
	if why != nil {
		return nil, why
	}
	if known.instance != nil {
		return runResult(known.instance), nil
	}
	if why := q.room(i); why != nil {
		return nil, why
	}
	known.instance = i
	i.ID, i.Address, i.Launched = s.next("i"), s.address(), q.now
	i.visible = q.now.Add(s.hidden)
	q.r.instances = append(q.r.instances, i)
	q.turnOn(i)
	return runResult(i), nil
}

// readLaunch checks the parameters and turns them into an instance.
func (q *request) readLaunch() (*instance, *refusal) {
	form := q.form
	i := &instance{boot: q.s.options.Boot, off: q.s.options.Off}
	i.Region, i.Image, i.Type, i.Token = q.r.Name, form.Get("ImageId"), form.Get("InstanceType"), form.Get("ClientToken")
	switch {
	case i.Image == "" || i.Type == "" || form.Get("MinCount") == "" || form.Get("MaxCount") == "":
		return nil, refuse("MissingParameter", "The request must contain the parameters ImageId, InstanceType, MinCount and MaxCount")
	case form.Get("MinCount") != "1" || form.Get("MaxCount") != "1":
		return nil, refuse("UnsupportedOperation", "this fake launches one instance at a time")
	case len(i.Token) > maxToken || strings.ContainsFunc(i.Token, func(r rune) bool { return r > 126 || r < 32 }):
		return nil, refuse("InvalidParameterValue", "The client token must be at most %d ASCII characters", maxToken)
	case !imageID.MatchString(i.Image):
		return nil, refuse("InvalidAMIID.Malformed", "Invalid id: %q", i.Image)
	case !strings.Contains(i.Type, "."):
		return nil, refuse("InvalidParameterValue", "Invalid value '%s' for InstanceType.", i.Type)
	}
	image := q.r.image(i.Image)
	if image == nil {
		return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", i.Image)
	}
	if image.state(q.now) != "available" {
		return nil, refuse("InvalidAMIID.Unavailable", "The image ID '%s' is not available", i.Image)
	}
	data, err := base64.StdEncoding.DecodeString(form.Get("UserData"))
	if err != nil {
		return nil, refuse("InvalidParameterValue", "Invalid BASE64 encoding of user data")
	}
	if len(data) > maxUserData {
		return nil, refuse("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	i.UserData = string(data)
	for _, read := range []func(*instance) *refusal{q.readNetwork, q.readTags, q.readProfile, q.readReservation} {
		if why := read(i); why != nil {
			return nil, why
		}
	}
	return i, q.readVolumes(i, image)
}

func (q *request) readNetwork(i *instance) *refusal {
	form := q.form
	i.Subnet, i.Groups = subnetOf(form), append(q.list("SecurityGroupId"), q.list("NetworkInterface.1.SecurityGroupId")...)
	i.PublicAddress = form.Get("NetworkInterface.1.AssociatePublicIpAddress") != "false"
	if len(q.each("NetworkInterface")) > 0 && (form.Get("SubnetId") != "" || len(q.list("SecurityGroupId")) > 0) {
		return refuse("InvalidParameterCombination", "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request")
	}
	i.Zone = form.Get("Placement.AvailabilityZone")
	if i.Zone != "" && !slices.Contains(q.r.Zones, i.Zone) {
		return refuse("InvalidParameterValue", "Invalid availability zone: [%s]", i.Zone)
	}
	if i.Subnet != "" {
		zone, ok := q.r.Subnets[i.Subnet]
		if !ok {
			return refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", i.Subnet)
		}
		if i.Zone != "" && i.Zone != zone {
			return refuse("InvalidParameterValue", "The availability zone %s is not that of the subnet %s", i.Zone, i.Subnet)
		}
		i.Zone = zone
	}
	if i.Zone == "" {
		i.Zone = q.r.Zones[0]
	}
	for _, group := range i.Groups {
		if !slices.Contains(q.r.Groups, group) {
			return refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", group)
		}
	}
	i.Tokens = form.Get("MetadataOptions.HttpTokens")
	if i.Tokens == "" {
		i.Tokens = "optional"
	}
	return nil
}

func (q *request) readTags(i *instance) *refusal {
	all := map[string]map[string]string{}
	for _, spec := range q.each("TagSpecification") {
		kind, tags := q.form.Get(spec+"ResourceType"), q.tags(spec)
		if kind != "instance" && kind != "volume" && kind != "network-interface" {
			return refuse("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", kind)
		}
		if why := checkTags(tags); why != nil {
			return why
		}
		all[kind] = tags
	}
	i.Tags, i.VolumeTags, i.InterfaceTags = all["instance"], all["volume"], all["network-interface"]
	return nil
}

// checkTags holds tags against EC2's restrictions.
func checkTags(tags map[string]string) *refusal {
	if len(tags) > 50 {
		return refuse("TagLimitExceeded", "a resource can have 50 tags")
	}
	for name, value := range tags {
		if name == "" || len(name) > 128 || len(value) > 256 || strings.HasPrefix(name, "aws:") {
			return refuse("InvalidParameterValue", "the tag %q=%q is not valid", name, value)
		}
	}
	return nil
}

func (q *request) readProfile(i *instance) *refusal {
	i.Profile = q.form.Get("IamInstanceProfile.Name")
	if i.Profile != "" && !slices.Contains(q.s.options.Profiles, i.Profile) {
		return refuse("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", i.Profile)
	}
	return nil
}

func (q *request) readReservation(i *instance) *refusal {
	i.Reservation = q.form.Get("CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId")
	if i.Reservation == "" {
		return nil
	}
	r := q.r.reservation(i.Reservation)
	if r == nil {
		return refuse("InvalidCapacityReservationId.NotFound", "The capacity reservation '%s' does not exist", i.Reservation)
	}
	if r.Zone != i.Zone || r.Type != i.Type {
		return refuse("InvalidParameterValue", "The attributes of the request do not match those of the capacity reservation '%s'", i.Reservation)
	}
	return nil
}

func (q *request) readVolumes(i *instance, image *Image) *refusal {
	i.Volumes = slices.Clone(image.Volumes)
	for n := range i.Volumes {
		i.Volumes[n].Encrypted = i.Volumes[n].Encrypted || image.encrypted
	}
	for _, mapping := range q.each("BlockDeviceMapping") {
		device := q.form.Get(mapping + "DeviceName")
		at := slices.IndexFunc(i.Volumes, func(v Volume) bool { return v.Device == device })
		if at < 0 {
			return refuse("MissingParameter", "The request must contain the parameter size or snapshotId for the device %s", device)
		}
		v := &i.Volumes[at]
		if v.Encrypted && q.form.Get(mapping+"Ebs.Encrypted") == "false" {
			return refuse("InvalidParameter", "the encrypted flag cannot be specified as false since device %s has an encrypted snapshot", device)
		}
		v.Encrypted = v.Encrypted || q.form.Get(mapping+"Ebs.Encrypted") == "true"
		if size, err := strconv.Atoi(q.form.Get(mapping + "Ebs.VolumeSize")); err == nil {
			if size < v.Size {
				return refuse("InvalidBlockDeviceMapping", "Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", size, v.Snapshot, v.Size)
			}
			v.Size = size
		}
	}
	return nil
}

// launchAccess is what IAM asks for before an instance is launched.
func (q *request) launchAccess(i *instance) []Access {
	tags := requestTags(i.Tags)
	image := q.r.image(i.Image)
	on := []Access{
		{Resource: q.arn("instance", "*"), Keys: merged(tags, map[string][]string{
			"ec2:InstanceType": {i.Type}, "ec2:MetadataHttpTokens": {i.Tokens},
			"ec2:InstanceProfile": {"arn:aws:iam::" + Account + ":instance-profile/" + i.Profile},
		})},
		{Resource: q.arn("volume", "*"), Keys: merged(requestTags(i.VolumeTags), map[string][]string{"ec2:Encrypted": {fmt.Sprint(i.allEncrypted())}})},
		{Resource: q.arn("network-interface", "*"), Keys: merged(requestTags(i.InterfaceTags), map[string][]string{
			"ec2:AssociatePublicIpAddress": {fmt.Sprint(i.PublicAddress)}})},
		{Resource: q.arn("image", i.Image), Keys: merged(resourceTags(image.Tags), map[string][]string{"ec2:Owner": {image.Owner}})},
		{Resource: q.arn("subnet", i.Subnet)},
	}
	for _, group := range i.Groups {
		on = append(on, Access{Resource: q.arn("security-group", group)})
	}
	if i.Reservation != "" {
		on = append(on, Access{Resource: q.arn("capacity-reservation", i.Reservation)})
	}
	for n := range on {
		on[n].Action = "ec2:RunInstances"
	}
	if i.Profile != "" {
		on = append(on, Access{
			Action: "iam:PassRole", Resource: "arn:aws:iam::" + Account + ":role/" + i.Profile, Keys: map[string][]string{"iam:PassedToService": {"ec2.amazonaws.com"}},
		})
	}
	for kind, tags := range map[string]map[string]string{"instance": i.Tags, "volume": i.VolumeTags, "network-interface": i.InterfaceTags} {
		if len(tags) > 0 {
			on = append(on, Access{Action: "ec2:CreateTags", Resource: q.arn(kind, "*"), Keys: merged(requestTags(tags), map[string][]string{"ec2:CreateAction": {"RunInstances"}})})
		}
	}
	return on
}

func (i *instance) allEncrypted() bool {
	return !slices.ContainsFunc(i.Volumes, func(v Volume) bool { return !v.Encrypted })
}

// token finds what the client token was used for. It is idempotent in each zone
// where the request names one, by a zone or a subnet, else in the region.
func (q *request) token(i *instance) (*use, *refusal) {
	if i.Token == "" {
		return &use{}, nil
	}
	scope := q.r.Name
	if i.Subnet != "" || q.form.Get("Placement.AvailabilityZone") != "" {
		scope = i.Zone
	}
	hash := q.hash("ClientToken", "Placement.AvailabilityZone")
	known := q.r.tokens[scope+" "+i.Token]
	if known == nil {
		known = &use{hash: hash}
		q.r.tokens[scope+" "+i.Token] = known
	}
	if known.hash != hash {
		return nil, refuse("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	if was := known.instance; was != nil && (was.State == terminated || was.State == shuttingDown) && !q.s.options.Replay {
		return nil, refuse("IdempotentInstanceTerminated", "Client token already used before for an instance that has been terminated")
	}
	return known, nil
}

// hash is one for requests that are the same but for some parameters.
func (q *request) hash(without ...string) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(q.form)) {
		if !slices.Contains(without, name) {
			fmt.Fprintf(sum, "%q=%q\n", name, q.form.Get(name))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// room takes a place for the instance, where there is one.
func (q *request) room(i *instance) *refusal {
	if q.noRoom != nil {
		return q.noRoom
	}
	if !slices.Contains(q.r.types(i.Zone), i.Type) {
		return refuse("Unsupported", "Your requested instance type (%s) is not supported in your requested Availability Zone (%s).", i.Type, i.Zone)
	}
	if i.Reservation == "" {
		return nil
	}
	r := q.r.reservation(i.Reservation)
	if r.Free == 0 {
		return refuse("ReservationCapacityExceeded", "The requested reservation does not have sufficient compatible and available capacity for this request.")
	}
	r.Free--
	return nil
}
