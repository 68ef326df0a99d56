package ec2

import (
	"fmt"
	"time"
)

// Region is what exists in a region before anything is launched.
type Region struct {
	Name  string
	Zones []string
	// Subnets holds the zone by subnet id.
	Subnets map[string]string
	// Groups are the ids of security groups.
	Groups []string
	Images []Image
	// Types are the machine types that each zone offers. Default: DefaultTypes in each.
	Types        map[string][]string
	Reservations []Reservation
}

// Image is an AMI.
type Image struct {
	ID, Name string
	// Owner is an account id. Default: Account.
	Owner string
	// Root is the device of the root volume. Default: /dev/xvda.
	Root string
	// Volumes are the EBS volumes. Default: the root volume alone.
	Volumes []Volume
	Tags    map[string]string
	// Ready is when it becomes available; before, it is pending. Zero: always.
	Ready time.Time
	// Failed is why it never becomes available.
	Failed string
	// Created orders images of one name. Source and SourceRegion are what it is a copy of.
	Created              time.Time
	Source, SourceRegion string
	encrypted            bool
}

// Volume is one EBS volume of an image.
type Volume struct {
	Device, Snapshot string
	// Size in GiB.
	Size      int
	Encrypted bool
}

// Reservation is a capacity reservation.
type Reservation struct {
	ID, Zone, Type string
	// Free is how many instances still fit.
	Free int
}

// NewRegion makes a region as a careful operator would leave it: three zones
// with a subnet each, a security group sg-1, and an image of our own.
func NewRegion(name string) Region {
	r := Region{Name: name, Subnets: map[string]string{}, Groups: []string{"sg-1", "sg-2"}}
	for _, letter := range []string{"a", "b", "c"} {
		r.Zones = append(r.Zones, name+letter)
		r.Subnets["subnet-"+name+letter] = name + letter
	}
	r.Images = []Image{{ID: "ami-0123456789abcdef0", Name: "asr-2512", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	return r
}

// region is a region in operation.
type region struct {
	Region
	images    []*Image
	instances []*instance
	// tokens holds what each client token was used for, by scope and token.
	tokens map[string]*use
	// copies holds the same of CopyImage.
	copies map[string]*copied
}

// use is what a client token was used for.
type use struct {
	// hash of the parameters of the first request.
	hash string
	// instance is nil while every request with the token has failed.
	instance *instance
}

type copied struct {
	hash  string
	image *Image
}

func newRegion(r Region) *region {
	made := &region{Region: r, tokens: map[string]*use{}, copies: map[string]*copied{}}
	for _, i := range r.Images {
		made.add(i)
	}
	return made
}

func (r *region) add(i Image) *Image {
	if i.Owner == "" {
		i.Owner = Account
	}
	if i.Root == "" {
		i.Root = "/dev/xvda"
	}
	if len(i.Volumes) == 0 {
		i.Volumes = []Volume{{Device: i.Root, Snapshot: "snap-0123456789abcdef0", Size: 8}}
	}
	r.images = append(r.images, &i)
	return &i
}

func (r *region) image(id string) *Image {
	for _, i := range r.images {
		if i.ID == id {
			return i
		}
	}
	return nil
}

func (r *region) reservation(id string) *Reservation {
	for i := range r.Reservations {
		if r.Reservations[i].ID == id {
			return &r.Reservations[i]
		}
	}
	return nil
}

// DefaultTypes are the machine types of a zone for which none are named.
var DefaultTypes = []string{"g5.xlarge", "g6.xlarge", "m5.large", "t2.micro"}

// types are the machine types that a zone has at all.
func (r *region) types(zone string) []string {
	if types, told := r.Types[zone]; told {
		return types
	}
	return DefaultTypes
}

func (i *Image) state(now time.Time) string {
	switch {
	case i.Failed != "":
		return "failed"
	case now.Before(i.Ready):
		return "pending"
	default:
		return "available"
	}
}

// AddImage puts an image into a region, as somebody else who makes one.
func (s *Server) AddImage(regionName string, i Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regions[regionName].add(i)
}

// ImageState sets when the images of a name become available, or why they do not.
func (s *Server) ImageState(regionName, name string, ready time.Time, failed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.regions[regionName].images {
		if i.Name == name {
			i.Ready, i.Failed = ready, failed
		}
	}
}

// Images are the images of a region.
func (s *Server) Images(regionName string) []Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Image
	for _, i := range s.regions[regionName].images {
		all = append(all, *i)
	}
	return all
}

// next gives out identifiers in EC2's form.
func (s *Server) next(prefix string) string {
	s.count++
	return fmt.Sprintf("%s-0fa4e%012x", prefix, s.count)
}
