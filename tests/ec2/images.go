package ec2

import (
	"slices"
	"strings"
)

type (
	ebsXML struct {
		Snapshot  string `xml:"snapshotId,omitempty"`
		Size      int    `xml:"volumeSize"`
		Type      string `xml:"volumeType"`
		Encrypted bool   `xml:"encrypted"`
		Delete    bool   `xml:"deleteOnTermination"`
	}
	mappingXML struct {
		Device string `xml:"deviceName"`
		EBS    ebsXML `xml:"ebs"`
	}
	imageXML struct {
		ID           string       `xml:"imageId"`
		Name         string       `xml:"name"`
		Owner        string       `xml:"imageOwnerId"`
		State        string       `xml:"imageState"`
		Reason       *reasonXML   `xml:"stateReason"`
		Created      string       `xml:"creationDate"`
		Root         string       `xml:"rootDeviceName"`
		RootType     string       `xml:"rootDeviceType"`
		Mappings     []mappingXML `xml:"blockDeviceMapping>item"`
		Tags         []tagXML     `xml:"tagSet>item"`
		Source       string       `xml:"sourceImageId,omitempty"`
		SourceRegion string       `xml:"sourceImageRegion,omitempty"`
	}
)

func (s *Server) describeImages(q *request) (any, *refusal) {
	if why := q.allow(Access{Action: "ec2:DescribeImages", Resource: "*"}); why != nil {
		return nil, why
	}
	ids, owners := q.list("ImageId"), q.list("Owner")
	for _, id := range ids {
		if !imageID.MatchString(id) {
			return nil, refuse("InvalidAMIID.Malformed", "Invalid id: %q", id)
		}
		if q.r.image(id) == nil {
			return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
		}
	}
	out := struct {
		RequestID string     `xml:"requestId"`
		Images    []imageXML `xml:"imagesSet>item"`
	}{RequestID: requestID}
	for _, i := range q.r.images {
		owner := i.Owner
		if owner == Account {
			owner = "self"
		}
		if len(ids) > 0 && !slices.Contains(ids, i.ID) || len(owners) > 0 && !slices.Contains(owners, owner) && !slices.Contains(owners, i.Owner) {
			continue
		}
		fits, why := q.filter(func(name string) ([]string, bool) { return i.field(name, i.state(q.now)) })
		if why != nil {
			return nil, why
		}
		if !fits {
			continue
		}
		x := imageXML{
			ID: i.ID, Name: i.Name, Owner: i.Owner, State: i.state(q.now), Created: timeText(i.Created), Root: i.Root, RootType: "ebs", Tags: tagsXML(i.Tags),
			Source: i.Source, SourceRegion: i.SourceRegion,
		}
		if i.Failed != "" {
			x.Reason = &reasonXML{"Client.Error", i.Failed}
		}
		for _, v := range i.Volumes {
			x.Mappings = append(x.Mappings, mappingXML{v.Device, ebsXML{Snapshot: v.Snapshot, Size: v.Size, Type: "gp3", Encrypted: v.Encrypted || i.encrypted, Delete: true}})
		}
		out.Images = append(out.Images, x)
	}
	return out, nil
}

// field is what a filter of images looks at.
func (i *Image) field(name, state string) ([]string, bool) {
	if key, is := strings.CutPrefix(name, "tag:"); is {
		if value, has := i.Tags[key]; has {
			return []string{value}, true
		}
		return nil, true
	}
	value, ok := map[string]string{"name": i.Name, "state": state, "owner-id": i.Owner}[name]
	return []string{value}, ok
}

// copyImage makes a copy in the region that is asked; the copy is pending until
// ImageState says otherwise.
func (s *Server) copyImage(q *request) (any, *refusal) {
	form := q.form
	name, token := form.Get("Name"), form.Get("ClientToken")
	if name == "" || form.Get("SourceImageId") == "" || form.Get("SourceRegion") == "" {
		return nil, refuse("MissingParameter", "The request must contain the parameters Name, SourceImageId and SourceRegion")
	}
	from := s.regions[form.Get("SourceRegion")]
	if from == nil {
		return nil, refuse("InvalidParameterValue", "Invalid source region: %s", form.Get("SourceRegion"))
	}
	source := from.image(form.Get("SourceImageId"))
	if source == nil {
		return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", form.Get("SourceImageId"))
	}
	tags := map[string]map[string]string{}
	for _, spec := range q.each("TagSpecification") {
		tags[form.Get(spec+"ResourceType")] = q.tags(spec)
	}
	needed := []Access{
		{Action: "ec2:CopyImage", Resource: "arn:aws:ec2:" + from.Name + "::image/" + source.ID},
		{Action: "ec2:CopyImage", Resource: q.arn("image", "*"), Keys: requestTags(tags["image"])},
		{Action: "ec2:CopyImage", Resource: q.arn("snapshot", "*"), Keys: requestTags(tags["snapshot"])},
	}
	for kind, some := range tags {
		needed = append(needed, Access{Action: "ec2:CreateTags", Resource: q.arn(kind, "*"), Keys: merged(requestTags(some), map[string][]string{"ec2:CreateAction": {"CopyImage"}})})
	}
	if why := q.allow(needed...); why != nil {
		return nil, why
	}
	if why := q.dryRun(); why != nil {
		return nil, why
	}
	known := q.r.copies[token]
	if token == "" || known == nil {
		known = &copied{hash: q.hash("ClientToken")}
		known.image = q.r.add(Image{
			ID: s.next("ami"), Name: name, Root: source.Root, Volumes: slices.Clone(source.Volumes), Created: q.now, Tags: tags["image"],
			Ready: q.now.AddDate(1, 0, 0), Source: source.ID, SourceRegion: from.Name, encrypted: form.Get("Encrypted") == "true",
		})
		q.r.copies[token] = known
	}
	if known.hash != q.hash("ClientToken") {
		return nil, refuse("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	return struct {
		RequestID string `xml:"requestId"`
		ImageID   string `xml:"imageId"`
	}{requestID, known.image.ID}, nil
}

func (s *Server) describeOfferings(q *request) (any, *refusal) {
	if why := q.allow(Access{Action: "ec2:DescribeInstanceTypeOfferings", Resource: "*"}); why != nil {
		return nil, why
	}
	if q.form.Get("LocationType") != "availability-zone" {
		return nil, refuse("InvalidParameterValue", "this fake plays location type availability-zone only")
	}
	type offering struct {
		Type         string `xml:"instanceType"`
		LocationType string `xml:"locationType"`
		Location     string `xml:"location"`
	}
	out := struct {
		RequestID string     `xml:"requestId"`
		Offerings []offering `xml:"instanceTypeOfferingSet>item"`
	}{RequestID: requestID}
	for _, zone := range q.r.Zones {
		for _, of := range q.r.types(zone) {
			fits, why := q.filter(func(name string) ([]string, bool) {
				value, ok := map[string]string{"instance-type": of, "location": zone}[name]
				return []string{value}, ok
			})
			if why != nil {
				return nil, why
			}
			if fits {
				out.Offerings = append(out.Offerings, offering{of, "availability-zone", zone})
			}
		}
	}
	return out, nil
}

func (s *Server) describeReservations(q *request) (any, *refusal) {
	if why := q.allow(Access{Action: "ec2:DescribeCapacityReservations", Resource: "*"}); why != nil {
		return nil, why
	}
	type reservation struct {
		ID    string `xml:"capacityReservationId"`
		Type  string `xml:"instanceType"`
		Zone  string `xml:"availabilityZone"`
		Free  int    `xml:"availableInstanceCount"`
		State string `xml:"state"`
	}
	out := struct {
		RequestID    string        `xml:"requestId"`
		Reservations []reservation `xml:"capacityReservationSet>item"`
	}{RequestID: requestID}
	for _, id := range q.list("CapacityReservationId") {
		r := q.r.reservation(id)
		if r == nil {
			return nil, refuse("InvalidCapacityReservationId.NotFound", "The capacity reservation '%s' does not exist", id)
		}
		out.Reservations = append(out.Reservations, reservation{r.ID, r.Type, r.Zone, r.Free, "active"})
	}
	return out, nil
}
