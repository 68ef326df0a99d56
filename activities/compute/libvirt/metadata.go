package libvirt

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/activities/compute"
)

// Namespace is that of the element in a domain's metadata in which our tags are attributes.
const Namespace = "https://github.com/understudy-dr/understudy/machine"

// Attributes beside the tags.
const (
	attrMade    = "made"    // RFC 3339
	attrAddress = "address" // where it answers, if libvirt cannot tell
	attrPrice   = "price"
	attrWhere   = "where"
	attrPhase   = "phase"
)

// Phases of a machine, for when its domain is shut off: why?
const (
	phaseMaking  = "making"  // it was defined, and is about to be started
	phaseStarted = "started" // it was started, so it ended by itself
	phaseStopped = "stopped" // we stopped it
)

// notes are what we keep in a domain: tags, and attributes beside them.
type notes map[string]string

// tags are those of package compute.
func (n notes) tags() map[string]string {
	tags := maps.Clone(map[string]string(n))
	for _, own := range []string{attrMade, attrAddress, attrPrice, attrWhere, attrPhase} {
		delete(tags, own)
	}
	return tags
}

func (n notes) made() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, n[attrMade])
	return at
}

func (n notes) price() float64 {
	price, _ := strconv.ParseFloat(n[attrPrice], 64)
	return price
}

// element is the notes as XML, with or without its own namespace declared:
// virsh metadata adds the declaration by itself.
func (n notes) element(name, declaration string) string {
	var b strings.Builder
	b.WriteString("<" + name + declaration)
	for _, key := range slices.Sorted(maps.Keys(n)) {
		if n[key] != "" {
			fmt.Fprintf(&b, " %s=\"%s\"", key, escape(n[key]))
		}
	}
	b.WriteString("/>")
	return b.String()
}

// with is a copy of the notes with changes.
func (n notes) with(changes map[string]string) notes {
	changed := maps.Clone(n)
	if changed == nil {
		changed = notes{}
	}
	maps.Copy(changed, changes)
	return changed
}

// notesOf are the notes of an order's machine.
func notesOf(at place, o compute.Order, now time.Time) notes {
	n := notes(o.Tags()).with(map[string]string{attrMade: now.UTC().Format(time.RFC3339Nano), attrWhere: whereOf(at, o), attrPhase: phaseMaking})
	if o.Placement.Price != 0 {
		n[attrPrice] = strconv.FormatFloat(o.Placement.Price, 'g', -1, 64)
	}
	if o.Placement.Subnet == "" {
		n[attrAddress] = at.loopback(o.Key)
	}
	return n
}

func whereOf(at place, o compute.Order) string {
	return fmt.Sprintf("%s %s %d MiB %d CPU", at.uri, at.pool, memory(o.Placement), cpus(o.Placement))
}

// escape makes text fit for XML.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
